"""How to reach Consul: the flags, and the environment names that Consul's own tools read. Opens no connection.

Flag > environment > default, with one exception that Consul makes too: a token file outranks CONSUL_HTTP_TOKEN.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Final, Literal

from k3.agent.http import Server
from k3.agent.tls import BadFile, client_context, present
from k3.core import limits
from k3.core.addresses import authority
from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.core.safe_text import one_line, without_passwords
from k3.settings import parsing

DEFAULT_ADDRESS: Final = "localhost:8500"
DEFAULT_PORT: Final = 8500
EXPECTED: Final = "HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///path/of/socket"

_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?/?", re.ASCII)
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_TLS_NAMES: Final = {"ca": "CONSUL_CACERT", "cert": "CONSUL_CLIENT_CERT", "key": "CONSUL_CLIENT_KEY"}
_SCHEME_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulSettings:
    """Where Consul's HTTP API is and how to speak to it. Made by `from_flags`."""

    scheme: Literal["http", "https", "unix"] = "http"
    host: str = "localhost"
    port: int = DEFAULT_PORT
    socket_path: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    ca_file: str = ""
    """PEM; empty: the system's authorities."""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    """The name the certificate must carry, where it is not `host`."""
    verify: bool = True
    namespace: str = ""

    @property
    def where(self) -> str:
        """The address for people: `http://localhost:8500`."""
        if self.scheme == "unix":
            return f"unix://{self.socket_path}"
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """The address as in a Host header."""
        return "localhost" if self.scheme == "unix" else authority(self.host, self.port)

    def read_token(self) -> str:
        """Returns the token as it is now: the file's, which may change meanwhile, else the one given. Raises ConfigInvalid."""
        if not self.token_file:
            return self.token
        try:
            with Path(self.token_file).open("rb") as source:
                text = source.read(limits.TOKEN_BYTES).decode("ascii", "replace").strip()
        except OSError as error:
            msg = f"CONSUL_HTTP_TOKEN_FILE: cannot read {self.token_file}: {error.strerror}"
            raise ConfigInvalid(msg) from None
        return _checked_token(text, "CONSUL_HTTP_TOKEN_FILE")

    def tls(self) -> ssl.SSLContext | None:
        """Returns what to encrypt with, None for plain connections. Raises ConfigInvalid for files that cannot be used."""
        if self.scheme != "https":
            return None
        try:
            context = client_context(self.ca_file, check="identity" if self.verify else "nothing")
            present(context, self.cert_file, self.key_file)
        except BadFile as bad:
            msg = f"{_TLS_NAMES[bad.role]}: cannot use {one_line(str(bad))}"
            raise ConfigInvalid(msg) from None
        return context

    def server(self) -> Server:
        """Returns where to connect to. Raises ConfigInvalid for TLS files that cannot be used."""
        return Server(
            host=self.host, port=self.port, socket_path=self.socket_path, tls=self.tls(), server_name=self.server_name
        )


def from_flags(address: str, token: str, environ: Mapping[str, str]) -> ConsulSettings:
    """Reads `--consul-addr` and `--consul-token` (empty: not given) over Consul's environment names. Raises ConfigInvalid."""
    is_tls = parsing.boolean(environ.get("CONSUL_HTTP_SSL") or "false", "CONSUL_HTTP_SSL")
    name = "--consul-addr" if address else "CONSUL_HTTP_ADDR"
    scheme, host, port, path = _parse(address or environ.get("CONSUL_HTTP_ADDR") or DEFAULT_ADDRESS, name, is_tls=is_tls)
    given = token or environ.get("CONSUL_HTTP_TOKEN", "")
    cert, key = environ.get("CONSUL_CLIENT_CERT", ""), environ.get("CONSUL_CLIENT_KEY", "")
    if key and not cert:
        msg = "CONSUL_CLIENT_KEY: a key without CONSUL_CLIENT_CERT; set both or none"
        raise ConfigInvalid(msg)
    return ConsulSettings(
        scheme=scheme,
        host=host,
        port=port,
        socket_path=path,
        token=_checked_token(given, "--consul-token" if token else "CONSUL_HTTP_TOKEN"),
        token_file="" if token else environ.get("CONSUL_HTTP_TOKEN_FILE", ""),
        ca_file=environ.get("CONSUL_CACERT", ""),
        cert_file=cert,
        key_file=key,
        server_name=environ.get("CONSUL_TLS_SERVER_NAME", ""),
        verify=parsing.boolean(environ.get("CONSUL_HTTP_SSL_VERIFY") or "true", "CONSUL_HTTP_SSL_VERIFY"),
        namespace=environ.get("CONSUL_NAMESPACE", ""),
    )


def _parse(text: str, name: str, *, is_tls: bool) -> tuple[Literal["http", "https", "unix"], str, int, str]:
    scheme, separator, rest = text.rpartition("://")
    if scheme == "unix" and rest.startswith("/") and "\0" not in rest:
        return "unix", "", 0, rest
    found = _AUTHORITY.fullmatch(rest)
    if found is None or (separator and scheme not in _SCHEME_PORTS) or not 0 < int(found[3] or 1) <= limits.PORT:
        shown = one_line(without_passwords(text))[:80]
        msg = f'{name}: bad value "{shown}", expected {EXPECTED}'
        raise ConfigInvalid(msg)
    port = int(found[3] or _SCHEME_PORTS.get(scheme, DEFAULT_PORT))
    return "https" if is_tls or scheme == "https" else "http", found[1] or found[2], port, ""


def _checked_token(token: str, name: str) -> str:
    """Returns the token, if it is fit for a header or empty. Raises ConfigInvalid, which does not repeat it."""
    if token and not _TOKEN.fullmatch(token):
        msg = f"{name}: not a token: it has spaces or characters that a header cannot carry"
        raise ConfigInvalid(msg)
    return token
