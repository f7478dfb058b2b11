"""Which store: the `storage` section of the configuration file and the short form `--store URL`, as a `Storage`.

    storage.type: memory | sqlite | mysql | etcd        and one section per type
    memory://      sqlite:///path      mysql://user@host:3306/database      etcd://host1:2379,host2:2379

Further settings of a section may follow a URL as `?key=value`. What neither says is the default. Errors never repeat a
value of the section or the URL: it may hold a password.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from k3.core.errors import ConfigInvalid
from k3.core.safe_text import printable
from k3.settings import parsing
from k3.settings.parsing import DURATION, FLAG, TEXT, TEXTS, Fields, whole
from k3.settings.structs import SSL_MODES, EtcdStorage, MemoryStorage, MysqlStorage, SqliteStorage, Storage

TYPES: Final = ("memory", "sqlite", "mysql", "etcd")
EXPECTED_URL: Final = "memory://, sqlite:///path, mysql://user@host/database or etcd://host:2379,host:2379"


def _ssl_mode(value: object) -> str:
    """Also as the `mysql` client writes it: VERIFY_CA."""
    mode = str(value).lower().replace("-", "_")
    if mode not in SSL_MODES:
        raise ValueError
    return mode


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}")
_ALIASES: Final = {"mariadb": "mysql", "sqlite3": "sqlite", "file": "sqlite", "http": "etcd", "https": "etcd", "etcd3": "etcd"}
_ENDPOINT: Final = re.compile(r"(?:(https?)://)?((?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5})/?")
_TLS: Final[Fields] = {"ca_file": TEXT, "cert_file": TEXT, "key_file": TEXT}
_BACKENDS: Final[Mapping[str, Fields]] = {
    "memory": {},
    "sqlite": {"path": TEXT},
    "mysql": {
        "host": TEXT,
        "port": whole(1, 65_535),
        "user": TEXT,
        "password": TEXT,
        "database": TEXT,
        "max_open_conns": whole(1, 1_000),
        "max_idle_conns": whole(0, 1_000),
        "ssl_mode": parsing.Field(f"one of {', '.join(SSL_MODES)}", _ssl_mode),
        **_TLS,
    },
    "etcd": {
        "endpoints": TEXTS,
        "dial_timeout": replace(DURATION, attribute="dial_timeout_seconds"),
        "username": TEXT,
        "password": TEXT,
        "prefix": TEXT,
        "compact": FLAG,
        **_TLS,
    },
}


@dataclass(frozen=True, slots=True)
class StorageSection:
    """The `storage` section, held to its fields: the chosen type (empty: none) and the settings of each."""

    type: str = ""
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def of(self, backend: str) -> Mapping[str, Any]:
        """The settings of one type."""
        return self.backends.get(backend, {})


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A `--store URL`, parsed: the type and what it sets."""

    type: str
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def has_password(self) -> bool:
        """Whether the URL carries a password, where every process list shows it."""
        return "password" in self.settings


def read_section(section: object, where: str) -> StorageSection:
    """The `storage` section of a file. Raises ConfigInvalid for an unknown key or a wrong type anywhere in it."""
    fields: Fields = {"type": parsing.choice(*TYPES), **{name: parsing.Field("a mapping (key: value)", dict) for name in TYPES}}
    raw = parsing.mapping(section, where)
    backends = {name: parsing.read_fields(raw.get(name), _BACKENDS[name], f"{where}.{name}") for name in TYPES}
    found = parsing.read_fields(raw, fields, where)
    if found and "type" not in found:
        msg = f"{where}.type: missing, expected one of {', '.join(TYPES)}"
        raise ConfigInvalid(msg)
    return StorageSection(found.get("type", ""), backends)


def read_url(url: str, where: str) -> StoreUrl:
    """A store's URL. `where` names the flag or variable in errors. Raises ConfigInvalid."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in TYPES:
        msg = f"{where}: {_no_store(scheme) if separator else _no_url(url)}"
        raise ConfigInvalid(msg)
    if scheme == "memory":
        return StoreUrl("memory", {})
    if scheme == "sqlite":
        return StoreUrl("sqlite", {"path": _sqlite_path(rest, where)})
    body, _, query = rest.partition("?")
    try:
        settings = _mysql_settings(urlsplit(f"//{body}")) if scheme == "mysql" else _etcd_settings(body)
    except ValueError:
        msg = f"{where}: bad host or port in the {scheme}:// URL, expected {EXPECTED_URL}"
        raise ConfigInvalid(msg) from None
    return StoreUrl(scheme, {**settings, **_query_settings(query, scheme, where)})


def _no_store(scheme: str) -> str:
    if not _SCHEME.fullmatch(scheme):
        return f"not a store's URL, expected {EXPECTED_URL}"
    meant = _ALIASES.get(scheme.lower(), "")
    known = f'; did you mean "{meant}"?' if meant else parsing.nearest(scheme.lower(), TYPES)
    return f'k3 has no store "{scheme}"; it has {", ".join(TYPES)}{known}'


def _no_url(text: str) -> str:
    """A file's name is told its URL; anything else may hold a password, and is not repeated."""
    is_file = "@" not in text and (text.startswith(("/", "./", "../", "~/")) or text.endswith((".db", ".sqlite")))
    if not is_file or text.endswith("/"):
        return f"not a store's URL, expected {EXPECTED_URL}"
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - those of Path raise, or look at the disk
    return f"not a store's URL; did you mean sqlite://{printable(path, limit=200)}?"


def storage(backend: str, settings: Mapping[str, Any], *, default_path: Path, where: str) -> Storage:
    """The struct of a type made of its settings. Raises ConfigInvalid."""
    if backend == "memory":
        return MemoryStorage()
    if backend == "sqlite":
        return SqliteStorage(_file(settings["path"]) if settings.get("path") else default_path)
    if backend == "mysql":
        return MysqlStorage(**settings)
    return _etcd(EtcdStorage(**settings), where)


def _file(path: str) -> Path:
    """Absolute, with one slash in front: POSIX lets `//x` mean something else, and SQLite takes it for a host."""
    absolute = str(Path(path).expanduser().absolute())
    return Path(f"/{absolute.lstrip('/')}")


def _sqlite_path(rest: str, where: str) -> str:
    """Everything behind `sqlite://`, word for word: a file may be called anything."""
    if not rest.startswith("/") or rest.endswith("/"):
        msg = f"{where}: a sqlite:// URL needs three slashes and the absolute path of a file, as in sqlite:///var/lib/k3/k3.db"
        raise ConfigInvalid(msg)
    return rest


def _mysql_settings(parts: SplitResult) -> dict[str, Any]:
    """Raises ValueError for a bad host or port."""
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
    return {key: value for key, value in found.items() if value is not None}


def _etcd_settings(rest: str) -> dict[str, Any]:
    """What stands behind `etcd://`, without the query. Raises ValueError for an empty host."""
    netloc, slash, path = rest.partition("/")
    userinfo, _, hosts = netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    found = {
        "endpoints": tuple(_with_port(host) for host in hosts.split(",")),
        "username": unquote(username),
        "password": unquote(password),
        "prefix": (slash + path).rstrip("/"),
    }
    return {key: value for key, value in found.items() if value}


def _with_port(host: str) -> str:
    if not host:
        raise ValueError
    return host if ":" in host.rpartition("]")[2] else f"{host}:2379"


def _query_settings(query: str, backend: str, where: str) -> dict[str, Any]:
    fields = {key: value for key, value in _BACKENDS[backend].items() if key not in {"password", "endpoints"}}
    values = {key: _scalar(text) for key, text in parse_qsl(query, keep_blank_values=True)}
    return parsing.read_fields(values, fields, f"{where}, {backend}:// URL")


def _scalar(text: str) -> str | int | bool:
    """A query has only texts: one that looks like a number or a boolean is one."""
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text  # noqa: PLR2004 - beyond any setting


def _etcd(found: EtcdStorage, where: str) -> EtcdStorage:
    if not found.prefix.startswith("/") or found.prefix.endswith("/"):
        msg = f"{where}: the etcd prefix begins with / and does not end with it, as in /kubernetes"
        raise ConfigInvalid(msg)
    scheme = "https" if found.ca_file or found.cert_file else "http"
    return replace(found, endpoints=tuple(_endpoint(each, scheme, where) for each in found.endpoints))


def _endpoint(text: str, scheme: str, where: str) -> str:
    """One endpoint as `http[s]://host:port`."""
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        msg = f"{where}: bad etcd endpoint, expected http://host:2379 or https://host:2379 (the user has its own key)"
        raise ConfigInvalid(msg)
    return f"{found[1] or scheme}://{found[2]}"
