"""Who k3 is to the server, and whom it trusts: read from files, and read again once one of them has changed.

A service account's token is replaced every hour, a client's certificate every few months, and a revoked token by hand: an agent
goes on with the new one, and needs no restart. A file that cannot be read just then leaves what was there before.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from k3.agent.http import Server
from k3.agent.tls import BadFile, client_context, present
from k3.core import limits
from k3.core.addresses import bracketed
from k3.core.errors import K3Error, StartFailed
from k3.core.records import dataclass
from k3.stores.kubernetes import kubeconfig
from k3.stores.kubernetes.kubeconfig import Access, Pem
from k3.stores.kubernetes.settings import KubernetesStorage

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and its cluster's CA (Kubernetes documentation, "Accessing the Kubernetes API from a Pod")."""

_PORTS: Final = {"http": 80, "https": 443}
_ROLES: Final = {"ca": "ca_file", "cert": "cert_file", "key": "key_file"}

Stamp = tuple[tuple[str, int, int, int], ...]
"""How files stand: path, time of change, inode and size of each; all 0: it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """All that a request needs besides its question."""

    server: Server
    url: str
    """The server's, for people."""
    prefix: str
    """What stands before every path."""
    token: str = field(default="", repr=False)
    token_file: str = ""
    """Where the token is from."""
    has_certificate: bool = False


class Credentials:
    """The login of one store, as of now."""

    def __init__(
        self, storage: KubernetesStorage, *, environ: Mapping[str, str] | None = None, account: Path = SERVICE_ACCOUNT
    ) -> None:
        """`environ` and `account` are what a pod has of its cluster. Raises StartFailed, ConfigInvalid."""
        self._storage = storage
        self._environ = os.environ if environ is None else environ
        self._account = account
        self._stamp: Stamp = ()
        self._pems: object = None
        self._context: ssl.SSLContext | None = None
        self.login = self._read()

    def renew(self) -> bool:
        """Reads the files again where one has changed. Returns whether anything is new."""
        if _stamp(path for path, *_ in self._stamp) == self._stamp:
            return False
        try:
            self.login = self._read()
        except K3Error:  # half written, or being replaced: the next request looks again
            return False
        return True

    def _read(self) -> Login:
        access = self._access()
        files = [self._storage.kubeconfig, access.token_file, access.ca.file, access.cert.file, access.key.file]
        # Looked at before reading: what changes meanwhile is read again.
        stamp = _stamp(name for name in files if name)
        url = urlsplit(access.server)
        is_encrypted = url.scheme == "https"
        # As long as the certificates are the same so is the context, and the connections may stay.
        pems = replace(access, token="", token_file=""), tuple(each for each in stamp if each[0] != access.token_file)
        if is_encrypted and pems != self._pems:
            self._context, self._pems = _context(access), pems
        login = Login(
            server=Server(
                host=url.hostname or "",
                port=url.port or _PORTS[url.scheme],
                tls=self._context if is_encrypted else None,
                server_name=access.server_name,
            ),
            url=access.server,
            prefix=url.path.rstrip("/"),
            token=_token(access) if is_encrypted else "",
            token_file="" if access.token else access.token_file,
            has_certificate=is_encrypted and access.cert != Pem(),
        )
        self._stamp = stamp
        return login

    def _access(self) -> Access:
        storage = self._storage
        if storage.kubeconfig:
            found = kubeconfig.read(storage.kubeconfig, storage.context)
        elif storage.server:
            found = Access(server=storage.server)
        else:
            found = self._of_the_pod()
        return Access(
            server=found.server,
            server_name=storage.server_name or found.server_name,
            token=storage.token or ("" if storage.token_file else found.token),
            token_file=storage.token_file or found.token_file,
            ca=Pem(file=storage.ca_file) if storage.ca_file else found.ca,
            cert=Pem(file=storage.cert_file) if storage.cert_file else found.cert,
            key=Pem(file=storage.key_file) if storage.cert_file else found.key,
        )

    def _of_the_pod(self) -> Access:
        host = self._environ.get("KUBERNETES_SERVICE_HOST", "")
        port = self._environ.get("KUBERNETES_SERVICE_PORT", "")
        if not host or not port.isdigit():
            msg = "storage.kubernetes names no server and no kubeconfig, and this is no pod: name one, like --store https://hub:8443"
            raise StartFailed(msg)
        return Access(
            server=f"https://{bracketed(host)}:{port}",
            token_file=str(self._account / "token"),
            ca=Pem(file=str(self._account / "ca.crt")),
        )


def _stamp(paths: Iterator[str]) -> Stamp:
    return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: str) -> tuple[str, int, int, int]:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return path, 0, 0, 0
    return path, found.st_mtime_ns, found.st_ino, found.st_size


def _token(access: Access) -> str:
    if access.token or not access.token_file:
        token, place = access.token, "the token"
    else:
        place = f"the token in {access.token_file}"
        try:
            with Path(access.token_file).open("rb") as file:
                token = file.read(limits.TOKEN_BYTES + 1).decode("ascii", "replace")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            msg = f"cannot read {access.token_file}, which is to hold a token: {why}"
            raise StartFailed(msg) from None
        if not token.strip():
            msg = f"{access.token_file} is to hold a token, and is empty"
            raise StartFailed(msg)
    token = token.strip()
    # RFC 6750 §2.1: letters, digits and a few marks. Anything else could end the header.
    if len(token) > limits.TOKEN_BYTES or not token.isascii() or not token.isprintable() or " " in token:
        msg = f"{place} is none: expected one line of at most {limits.TOKEN_BYTES} visible characters"
        raise StartFailed(msg)
    return token


def _context(access: Access) -> ssl.SSLContext:
    """Returns what TLS needs. Raises StartFailed."""
    with ExitStack() as stack:
        ca, cert, key = (stack.enter_context(_path(pem)) for pem in (access.ca, access.cert, access.key))
        try:
            context = client_context(ca)
            present(context, cert, key)
        except BadFile as error:
            pem = {"ca": access.ca, "cert": access.cert, "key": access.key}[error.role]
            why = str(error) if pem.file else f"in the kubeconfig: {str(error).partition(': ')[2]}"
            msg = f"{_ROLES[error.role]}: {why}"
            raise StartFailed(msg) from None
    return context


@contextmanager
def _path(pem: Pem) -> Iterator[str]:
    """Gives a path to read it at: `ssl` takes keys from files alone, and a key does not belong on a disk for that."""
    if not pem.data:
        yield pem.file
        return
    descriptor = os.memfd_create("k3-pem")
    try:
        os.write(descriptor, pem.data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
