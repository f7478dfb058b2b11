"""What a person may set of an etcd store: the endpoints, the user, the prefix and the encryption."""

import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.settings.parsing import DURATION, FLAG, TEXT, TEXTS, Fields
from k3.settings.urls import query, read_query

TYPE: Final = "etcd"
EXAMPLE: Final = "etcd://host:2379,host:2379"
ALIASES: Final[tuple[str, ...]] = ("etcd3",)
PACKAGES: Final[Mapping[str, str]] = {"grpc": "grpcio", "google": "protobuf"}
FIELDS: Final[Fields] = {
    "endpoints": TEXTS,
    "dial_timeout": replace(DURATION, attribute="dial_timeout_seconds"),
    "username": TEXT,
    "password": TEXT,
    "prefix": TEXT,
    "compact": FLAG,
    "ca_file": TEXT,
    "cert_file": TEXT,
    "key_file": TEXT,
}

PREFIX: Final = "/kubernetes"
"""Where Kubernetes keeps what it has in etcd, unless told otherwise."""

_ENDPOINT: Final = re.compile(r"(?:(https?)://)?((?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5})/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdStorage:
    """`storage.type: etcd`: an etcd cluster. See `settings.structs.Storage`."""

    endpoints: tuple[str, ...] = ("http://127.0.0.1:2379",)
    dial_timeout_seconds: float = 5.0
    username: str = ""
    password: str = field(default="", repr=False)
    prefix: str = PREFIX
    compact: bool = True
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    type = TYPE
    file = None
    is_private = False

    @property
    def url(self) -> str:
        """The URL that opens the same store, given the password."""
        hosts = ",".join(endpoint.partition("://")[2] for endpoint in self.endpoints)
        user = f"{quote(self.username, safe='')}@" if self.username else ""
        prefix = self.prefix if self.prefix != PREFIX else ""
        return f"etcd://{user}{hosts}{prefix}{query(self, 'ca_file', 'cert_file', 'key_file')}"

    @property
    def has_password(self) -> bool:
        """Whether a password is set."""
        return bool(self.password)


def from_url(rest: str, where: str) -> dict[str, Any]:
    """Returns the settings in `user@host:port,host:port/prefix?key=value`. Raises ConfigInvalid, ValueError (no host)."""
    rest.encode()  # a byte that is no UTF-8, as a shell may hand on, is a ValueError too
    body, _, asked = rest.partition("?")
    netloc, slash, path = body.partition("/")
    userinfo, _, hosts = netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    found = {
        "endpoints": tuple(_with_port(host) for host in hosts.split(",")),
        "username": unquote(username),
        "password": unquote(password),
        "prefix": (slash + path).rstrip("/"),
    }
    fields = {key: each for key, each in FIELDS.items() if key not in {"password", "endpoints"}}
    return {key: value for key, value in found.items() if value} | read_query(asked, fields, f"{where}, etcd:// URL")


def _with_port(host: str) -> str:
    if not host:
        raise ValueError
    return host if ":" in host.rpartition("]")[2] else f"{host}:2379"


def storage(settings: Mapping[str, Any], *, default_path: Path, where: str) -> EtcdStorage:  # noqa: ARG001 - see `Backend`
    """Returns the cluster that is named, else the defaults. Raises ConfigInvalid."""
    found = EtcdStorage(**settings)
    if not found.prefix.startswith("/") or found.prefix.endswith("/"):
        msg = f"{where}: the etcd prefix begins with / and does not end with it, as in /kubernetes"
        raise ConfigInvalid(msg)
    scheme = "https" if found.ca_file or found.cert_file else "http"
    return replace(found, endpoints=tuple(_endpoint(each, scheme, where) for each in found.endpoints))


def _endpoint(text: str, scheme: str, where: str) -> str:
    """Returns one endpoint as `http[s]://host:port`."""
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        msg = f"{where}: bad etcd endpoint, expected http://host:2379 or https://host:2379 (the user has its own key)"
        raise ConfigInvalid(msg)
    return f"{found[1] or scheme}://{found[2]}"
