"""What a MySQL or MariaDB server says no with, and what a person is told: one line, the cause, the remedy, no secret.

Pure. Numbers are those of the server (1000 and above) and of the driver's own (2000 to 2999, 0: not connected).
"""

import re
from typing import Final

from k3.core.errors import Forbidden, K3Error, StartFailed, Unavailable
from k3.core.safe_text import printable
from k3.stores.installing import how_to_install
from k3.stores.log import sql
from k3.stores.mysql.settings import TYPE, MysqlStorage

NO_DATABASE: Final = 1049
NO_TABLE: Final = 1146
NO_COLUMN: Final = 1054
PACKET_TOO_LARGE: Final = 1153
LOST: Final = frozenset({0, 1053, 1152, PACKET_TOO_LARGE, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 2055, 3169, 4031})
"""The session is over, whatever became of the statement."""
AGAIN: Final = frozenset({1020, 1205, 1213, 1412, 3101})
"""The server rolled the transaction back for another one's sake: repeated, it may well succeed."""
GONE: Final = frozenset({NO_TABLE, NO_COLUMN})
"""A new session finds out what is left of the tables."""
_DAMAGED: Final = frozenset(
    {
        # k3's statements are always the same, so these meet tables or rows that are not k3's ...
        *(NO_TABLE, NO_COLUMN, 1048, 1062, 1136, 1264, 1265, 1292, 1364, 1366, 1406, 1452, 1644, 3819, 4025),
        # ... and these, files of the server that it cannot read.
        *(1016, 1017, 1030, 1033, 1034, 1035, 1194, 1195, 1712, 1812, 1814, 1877, 1932),
    }
)

ROLLED_BACK: Final = frozenset({1213, 3101})
"""As answers to a COMMIT, these mean that nothing was written: in a cluster, another member's write came first."""

_PASSWORD: Final = frozenset({1045, 1698})
_EXPIRED: Final = frozenset({1820, 1862})
_LOCKED: Final = frozenset({3118, 3955, 4151})
_ELSEWHERE: Final = frozenset({1044})
_RIGHTS: Final = frozenset({1142, 1143, 1227})
_CONNECTIONS: Final = frozenset({1040, 1203, 1226})
_READ_ONLY: Final = frozenset({1290, 1792, 1836})
NO_TLS_THERE: Final = 2026
PLUGIN: Final = 2059
_PLUGIN: Final = frozenset({1251, 1524, PLUGIN, 2061})
_FULL: Final = frozenset({1021, 1041, 1114})
_WANTS_TLS: Final = frozenset({3159, 4161})
_HOST: Final = frozenset({1129, 1130})
_CANNOT_CONNECT: Final = 2003
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF")
_PACKAGE: Final = re.compile(r"^'(\w+)' package is required")
_RIGHTS_NEEDED: Final = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP"


class Refused(Exception):
    """The server refused a statement, or the session broke. `answered` statements of the packet were done before it."""

    def __init__(self, code: int, text: str, *, answered: int = 0) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.answered = answered

    @property
    def lost(self) -> bool:
        """Whether the session is over."""
        return self.code in LOST

    @property
    def again(self) -> bool:
        """Whether the same, from the beginning, may succeed now; only for what was not yet committed."""
        return self.lost or self.code in AGAIN


def explain(refused: Refused, storage: MysqlStorage) -> K3Error:
    """Returns the error that the caller of a verb gets."""
    where, code = f"mysql {storage.host}:{storage.port}", refused.code
    if "[SSL" in refused.text:
        return Forbidden(f"{where}: {_tls(refused.text, storage)}")
    if package := _PACKAGE.match(refused.text):
        return StartFailed(f"{where}: {_lacks(package[1], storage)}")
    if code in _DAMAGED:
        return place(storage).damaged(f"{printable(refused.text, limit=200)} (error {code})")
    for codes, kind, why in _REASONS:
        if code in codes:
            return kind(f"{where}: " + why.format_map(_words(refused, storage)))
    return _silence(refused, where)


def _silence(refused: Refused, where: str) -> Unavailable:
    code = refused.code
    if code == _CANNOT_CONNECT:
        why = printable(refused.text, limit=200)
        return Unavailable(f"{where} cannot be reached ({why}): is it running, and are host and port right?")
    if code in LOST:
        return Unavailable(f"{where}: the connection was lost")
    return Unavailable(f"{where}: {printable(refused.text, limit=300)} (error {code})")


def place(storage: MysqlStorage) -> sql.Place:
    """Returns which store it is, and how a damaged one is replaced."""
    return sql.Place(
        f"database {storage.database} on mysql {storage.host}:{storage.port}",
        "restore a backup, or drop the tables meta, cur and log: agents make and fill new ones",
    )


def no_database(storage: MysqlStorage) -> Forbidden:
    """Returns the error for a database that is not there and that this user cannot make."""
    return Forbidden(
        f"mysql {storage.host}:{storage.port}: there is no database {storage.database} and user {storage.user} may not make it;"
        f" as administrator run: {_create(storage)} {_grant(storage)}"
    )


def _words(refused: Refused, storage: MysqlStorage) -> dict[str, str]:
    return {
        "user": storage.user,
        "database": storage.database,
        "create": _create(storage),
        "grant": _grant(storage),
        "text": printable(refused.text, limit=200),
    }


def _create(storage: MysqlStorage) -> str:
    return f"CREATE DATABASE IF NOT EXISTS `{storage.database}`;"


def _grant(storage: MysqlStorage) -> str:
    return f"GRANT {_RIGHTS_NEEDED} ON `{storage.database}`.* TO '{storage.user}'@'%';"


def no_answer(storage: MysqlStorage, seconds: float, *, is_silent: bool) -> Unavailable:
    """Returns the error for an answer that did not come in time. `is_silent`: the server accepted, and sent no greeting."""
    where = f"mysql {storage.host}:{storage.port}"
    if not is_silent:
        return Unavailable(
            f"{where}: no answer for {seconds:g} s: is it overloaded, or does somebody hold a lock (SHOW FULL PROCESSLIST)?"
        )
    return Unavailable(
        f"{where} takes connections and does not greet for {seconds:g} s: it hangs, or it looks up the name of this machine's"
        " address first (start it with skip_name_resolve, or mend its reverse DNS)"
    )


def _tls(text: str, storage: MysqlStorage) -> str:
    if any(sign in text for sign in _NO_TLS):
        return "TLS failed: what answers does not speak it; set it up there, or set ssl_mode to disabled"
    for mark, why in _CERTIFICATE:
        if mark in text:
            return "TLS failed: its certificate " + why.format(ca=storage.ca_file or "a CA that this machine knows")
    found = printable(text.partition("[SSL")[2], limit=200).rstrip(")")
    return f"TLS failed ([SSL{found}): check ca_file, cert_file and key_file"


def _lacks(package: str, storage: MysqlStorage) -> str:
    if package != "cryptography":
        return f"user {storage.user} logs in by a way that needs the package {package}: {how_to_install(TYPE, package)}"
    return (
        f"user {storage.user} logs in without TLS by a way (caching_sha2_password) for which k3 needs the package cryptography:"
        f" let the server speak TLS, or run: {how_to_install(TYPE, package)}"
    )


_CERTIFICATE: Final = (
    (
        "mismatch",
        "is for another name, or for none, as those that MySQL makes: name the host as it does, or set ssl_mode to verify_ca",
    ),
    ("expired", "has expired: renew it there"),
    ("not yet valid", "is not valid yet: is this machine's clock right?"),
    ("CERTIFICATE_VERIFY_FAILED", "is not signed by {ca}: check ca_file (MySQL's own CA is ca.pem in its data directory)"),
)

_REASONS: Final[tuple[tuple[frozenset[int], type[K3Error], str], ...]] = (
    (
        _PASSWORD,
        Forbidden,
        "user {user} is refused: wrong password (K3_STORE_PASSWORD), not allowed from here, or only with TLS (ssl_mode)",
    ),
    (
        _EXPIRED,
        Forbidden,
        (
            "the password of user {user} has expired; as administrator run:"
            " ALTER USER '{user}'@'%' IDENTIFIED BY 'a new one'; and give it to k3 (K3_STORE_PASSWORD)"
        ),
    ),
    (_LOCKED, Forbidden, "user {user} is locked; as administrator run: ALTER USER '{user}'@'%' ACCOUNT UNLOCK;"),
    (_ELSEWHERE, Forbidden, "no database {database}, or not for user {user}; as administrator run: {create} {grant}"),
    (_RIGHTS, Forbidden, "user {user} lacks rights on database {database}; as administrator run: {grant}"),
    (frozenset({NO_DATABASE}), Unavailable, "database {database} is gone"),
    (_CONNECTIONS, Unavailable, "no connection to spare: lower max_open_conns of the agents, or raise max_connections there"),
    (_READ_ONLY, Unavailable, "the server only reads (a replica?): point the store at the one that writes"),
    (
        _PLUGIN,
        StartFailed,
        (
            "user {user} logs in by a way that k3 does not know or not without TLS ({text}); as administrator run:"
            " ALTER USER '{user}'@'%' IDENTIFIED WITH caching_sha2_password BY '...'; (on MariaDB: IDENTIFIED BY '...')"
        ),
    ),
    (_FULL, Unavailable, "the server has no space or memory left"),
    (_WANTS_TLS, Forbidden, "the server wants TLS: set ssl_mode to preferred or required"),
    (frozenset({NO_TLS_THERE}), Forbidden, "the server does not speak TLS: set it up there, or set ssl_mode to preferred"),
    (_HOST, Forbidden, "the server refuses this machine: its users' hosts, or too many failed connections ({text})"),
    (frozenset({PACKET_TOO_LARGE}), Unavailable, "a packet was larger than max_allowed_packet there: raise it to 16M or more"),
    (AGAIN, Unavailable, "other writers hold the store's counter for too long"),
)
