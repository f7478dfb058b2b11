"""A kubeconfig as kubectl writes it: which server, whom to trust, and who the user is there.

The file is read as k3's configuration file is, within the same bounds. No error repeats a value of it: it holds keys and
tokens. What k3 does not do is refused by name: programs that give a token (`exec`, `auth-provider`), passwords, and servers
whose certificate is not to be checked.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Final

from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.settings import file as yaml_file
from k3.stores.kubernetes.settings import why_no_server

_NOT_TAKEN: Final = {
    "exec": "a program that gives a token, which k3 does not run; use token or tokenFile",
    "auth-provider": "a program that gives a token, which k3 does not run; use token or tokenFile",
    "username": "a password, which Kubernetes takes no more; use token or tokenFile",
    "as": "another user to act as, which k3 does not do",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """A certificate or key: in a file, or given as it is. Empty: there is none."""

    file: str = ""
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one API is reached."""

    server: str
    server_name: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    ca: Pem = Pem()
    cert: Pem = Pem()
    key: Pem = Pem()


def read(path: str, context: str) -> Access:
    """Returns what a context of a kubeconfig says; without a name, its current one. Raises ConfigInvalid."""
    document = yaml_file.read(Path(path))
    name = context or document.values("current-context")
    if not isinstance(name, str) or not name:
        msg = f"{path}: it has no current-context; name one (context)"
        raise ConfigInvalid(msg)
    chosen = _named(document, "contexts", "context", name)
    cluster = _named(document, "clusters", "cluster", _text(chosen, "cluster", path))
    user_name = _text(chosen, "user", path)
    user: Mapping[str, Any] = _named(document, "users", "user", user_name) if user_name else {}
    for key, why in _NOT_TAKEN.items():
        if user.get(key):
            msg = f"{path}: the user of context {printable(name, limit=80)} has {key}: {why}"
            raise ConfigInvalid(msg)
    if cluster.get("insecure-skip-tls-verify"):
        msg = f"{path}: insecure-skip-tls-verify is not taken: anyone could be the server; give certificate-authority"
        raise ConfigInvalid(msg)
    server = _text(cluster, "server", path).rstrip("/")
    if why := why_no_server(server, has_credentials=False):  # over http:// the user's are not shown, as by kubectl
        msg = f"{path}: {why}"
        raise ConfigInvalid(msg)
    return Access(
        server=server,
        server_name=_text(cluster, "tls-server-name", path),
        token="" if user.get("tokenFile") else _text(user, "token", path),  # the file counts, as for kubectl
        token_file=_file(user, "tokenFile", path),
        ca=_pem(cluster, "certificate-authority", path),
        cert=_pem(user, "client-certificate", path),
        key=_pem(user, "client-key", path),
    )


def _named(document: yaml_file.Document, section: str, key: str, name: str) -> Mapping[str, Any]:
    """Returns the entry of a name in one of the lists of a kubeconfig."""
    entries = document.values(section)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(found := entry.get(key), dict):
            return found
    msg = f"{document.file}: none of its {section} is named {printable(name, limit=80)}"
    raise ConfigInvalid(msg)


def _text(values: Mapping[str, Any], key: str, path: str) -> str:
    value = values.get(key) or ""
    if not isinstance(value, str):
        msg = f"{path}: {key}: expected text (in quotes where it looks like a number)"
        raise ConfigInvalid(msg)
    return value


def _file(values: Mapping[str, Any], key: str, path: str) -> str:
    """Returns a file, which a kubeconfig names from its own directory on."""
    name = _text(values, key, path)
    return str(Path(path).parent / name) if name else ""


def _pem(values: Mapping[str, Any], key: str, path: str) -> Pem:
    data = _text(values, f"{key}-data", path)
    if not data:
        return Pem(file=_file(values, key, path))
    try:
        return Pem(data=base64.b64decode(data, validate=True))
    except (ValueError, binascii.Error):
        msg = f"{path}: {key}-data: expected base64"
        raise ConfigInvalid(msg) from None
