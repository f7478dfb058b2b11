"""What a MySQL or MariaDB server says no with, and what a person is told: one line, the cause, the remedy, no secret.

Pure. Numbers are those of the server (1000 and above) and of the driver's own (2000 to 2999, 0: not connected).
"""

from typing import Final

from k3.config import MysqlStorage
from k3.core.errors import Forbidden, K3Error, StartFailed, Unavailable
from k3.safe_text import printable

NO_DATABASE: Final = 1049
NO_TABLE: Final = 1146
NO_COLUMN: Final = 1054
PACKET_TOO_LARGE: Final = 1153
LOST: Final = frozenset({0, 1053, 1152, PACKET_TOO_LARGE, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 2055, 3169, 4031})
"""The session is over, whatever became of the statement."""
AGAIN: Final = frozenset({1020, 1205, 1213})
"""Rolled back for another's sake: the same transaction may well succeed now."""

_PASSWORD: Final = frozenset({1045, 1698})
_ELSEWHERE: Final = frozenset({1044})
_RIGHTS: Final = frozenset({1142, 1143, 1227, 1370})
_CONNECTIONS: Final = frozenset({1040, 1203, 1226})
_READ_ONLY: Final = frozenset({1290, 1792, 1836})
PLUGIN: Final = 2059
_PLUGIN: Final = frozenset({1251, 1524, PLUGIN, 2061})
_FULL: Final = frozenset({1021, 1041, 1114})
_WANTS_TLS: Final = frozenset({3159, 4161})
_HOST: Final = frozenset({1129, 1130})
_CANNOT_CONNECT: Final = 2003
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF")
_RIGHTS_NEEDED: Final = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER"


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
    """What the caller of a verb gets."""
    where, code = f"mysql {storage.host}:{storage.port}", refused.code
    if "[SSL" in refused.text:
        return Forbidden(f"{where}: {_tls(refused.text)}")
    for codes, kind, why in _REASONS:
        if code in codes:
            return kind(f"{where}: " + why.format_map(_words(refused, storage)))
    if code == _CANNOT_CONNECT:
        return Unavailable(f"{where} cannot be reached ({_reason(refused.text)}): is it running, and are host and port right?")
    if code in LOST:
        return Unavailable(f"{where}: the connection was lost")
    return Unavailable(f"{where}: {printable(refused.text, limit=300)} (error {code})")


def no_database(storage: MysqlStorage) -> Forbidden:
    """The database is not there and cannot be made by this user."""
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


def _tls(text: str) -> str:
    if any(sign in text for sign in _NO_TLS):
        return "the server does not speak TLS: set it up there, or leave out ca_file, cert_file and key_file"
    found = printable(text.partition("[SSL")[2], limit=200).rstrip(")")
    return f"TLS failed ([SSL{found}): check ca_file, cert_file, key_file, and that the certificate names this host"


def _reason(text: str) -> str:
    """What the system said, without the driver's wrapping."""
    return printable(text.partition("(")[2].removesuffix(")") or text, limit=200)


_REASONS: Final[tuple[tuple[frozenset[int], type[K3Error], str], ...]] = (
    (
        _PASSWORD,
        Forbidden,
        "user {user} is refused: wrong password (K3_STORE_PASSWORD), not allowed from this machine, or only with TLS (ca_file)",
    ),
    (_ELSEWHERE, Forbidden, "no database {database}, or not for user {user}; as administrator run: {create} {grant}"),
    (_RIGHTS, Forbidden, "user {user} lacks rights on database {database}; as administrator run: {grant}"),
    (frozenset({NO_DATABASE}), Unavailable, "database {database} is gone"),
    (frozenset({NO_TABLE}), Unavailable, "the tables of k3 in database {database} are gone; the next call makes them anew"),
    (_CONNECTIONS, Unavailable, "no connection to spare: lower max_open_conns of the agents, or raise max_connections there"),
    (_READ_ONLY, Unavailable, "the server only reads (a replica?): point the store at the one that writes"),
    (_PLUGIN, StartFailed, "user {user} logs in by a way that needs TLS (ca_file) or another Python package here: {text}"),
    (_FULL, Unavailable, "the server has no space or memory left"),
    (_WANTS_TLS, Forbidden, "the server wants TLS: set ca_file"),
    (_HOST, Forbidden, "the server refuses this machine: its users' hosts, or too many failed connections ({text})"),
    (frozenset({PACKET_TOO_LARGE}), Unavailable, "a packet was larger than max_allowed_packet there: raise it to 16M or more"),
    (AGAIN, Unavailable, "other writers hold the store's counter for too long"),
)
