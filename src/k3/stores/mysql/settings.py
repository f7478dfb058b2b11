"""What a person may set of a MySQL store: the server, the account, the database and the encryption."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from k3.core import limits
from k3.core.addresses import authority
from k3.core.records import dataclass
from k3.settings import parsing
from k3.settings.parsing import TEXT, Fields, whole
from k3.settings.urls import query, read_query

TYPE: Final = "mysql"
EXAMPLE: Final = "mysql://user@host/database"
ALIASES: Final[tuple[str, ...]] = ("mariadb",)
PACKAGES: Final[Mapping[str, str]] = {"asyncmy": "asyncmy", "cryptography": "cryptography"}

SSL_MODES: Final = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
"""As the `mysql` client has them: no TLS; TLS where the server can; always; the CA checked; the name checked too."""


def _ssl_mode(value: object) -> str:
    """Reads the mode, also as the `mysql` client writes it: VERIFY_CA."""
    mode = str(value).lower().replace("-", "_")
    if mode not in SSL_MODES:
        raise ValueError
    return mode


FIELDS: Final[Fields] = {
    "host": TEXT,
    "port": whole(1, limits.PORT),
    "user": TEXT,
    "password": TEXT,
    "database": TEXT,
    "max_open_conns": whole(1, 1_000),
    "max_idle_conns": whole(0, 1_000),
    "ssl_mode": parsing.Field(f"one of {', '.join(SSL_MODES)}", _ssl_mode),
    "ca_file": TEXT,
    "cert_file": TEXT,
    "key_file": TEXT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlStorage:
    """`storage.type: mysql`: a MySQL or MariaDB server. See `settings.structs.Storage`."""

    host: str = "localhost"
    port: int = 3306
    user: str = "k3"
    password: str = field(default="", repr=False)
    database: str = "k3"
    max_open_conns: int = 10
    max_idle_conns: int = 5
    ssl_mode: str = ""
    """One of `SSL_MODES`; empty: verify_identity where a file of TLS is named, else preferred."""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    type = TYPE
    file = None
    is_private = False

    @property
    def encryption(self) -> str:
        """The mode in force, one of `SSL_MODES`."""
        return self.ssl_mode or ("verify_identity" if self.ca_file or self.cert_file or self.key_file else "preferred")

    @property
    def url(self) -> str:
        """The URL that opens the same database, given the password."""
        place = f"{quote(self.user, safe='')}@{authority(self.host, self.port)}/{quote(self.database, safe='')}"
        return f"mysql://{place}{query(self, 'ssl_mode', 'ca_file', 'cert_file', 'key_file')}"

    @property
    def has_password(self) -> bool:
        """Whether a password is set."""
        return bool(self.password)


def from_url(rest: str, where: str) -> dict[str, Any]:
    """Returns the settings in `user@host:port/database?key=value`. Raises ConfigInvalid, ValueError for a bad host or port."""
    rest.encode()  # a byte that is no UTF-8, as a shell may hand on, is a ValueError too
    body, _, asked = rest.partition("?")
    parts = urlsplit(f"//{body}")
    database = unquote(parts.path.strip("/"))
    if "/" in database:
        raise ValueError
    found = {
        "host": parts.hostname,
        "port": parts.port,
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "database": database or None,
    }
    more = read_query(asked, {key: each for key, each in FIELDS.items() if key != "password"}, f"{where}, mysql:// URL")
    return {key: value for key, value in found.items() if value is not None} | more


def storage(settings: Mapping[str, Any], *, default_path: Path, where: str) -> MysqlStorage:  # noqa: ARG001 - see `Backend`
    """Returns the server that is named, else the defaults."""
    return MysqlStorage(**settings)
