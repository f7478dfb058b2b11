"""What the server shows and believes over TLS: a certificate that was given, or one that it makes itself and keeps.

The authority is made once, in the state directory, and stays: clients are told to trust it (`k3 kubeconfig`). The server's own
certificate is made again when it nears its end, or when the machine has other addresses. Of several processes that begin at
the same moment one makes them. A given certificate is read again when its file has changed.
"""

import fcntl
import os
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from k3.agent import tls
from k3.agent.trust import foreign_file, foreign_link
from k3.core.addresses import parse_address
from k3.core.errors import ConfigInvalid, StartFailed
from k3.server.access.identity import AUTHENTICATED, User
from k3.server.access.pair import NAME_CHARACTERS, Pair
from k3.server.access.settings import AccessSettings

DIRECTORY: Final = "server"
"""Of the state directory: the authority, and the certificate with its key in one file, so that they always fit."""
SERVER: Final = "server.pem"
_HOST_CHARACTERS: Final = 253
_FLAGS: Final = {"cert": "--tls-cert-file", "key": "--tls-key-file", "ca": "--client-ca-file"}


class Certificates:
    """The files of one server. Everything here is called in a thread or before the loop runs: it reads and writes files."""

    def __init__(self, settings: AccessSettings, state_dir: Path, addresses: frozenset[str]) -> None:
        """`addresses`: this machine's, by which clients may come."""
        self._settings = settings
        self._directory = state_dir / DIRECTORY
        self.addresses = addresses
        """To be changed before `renew`, when the machine has others."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._seen: tuple[object, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Returns how connections are encrypted; the same object for ever. Raises ConfigInvalid, StartFailed."""
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_alpn_protocols(["http/1.1"])
        self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as with every client of k3's (ADR 22)
        self._believe_clients()
        self.renew()
        self._context.verify_mode = ssl.CERT_OPTIONAL
        return self._context

    def renew(self) -> bool:
        """Makes or reads the certificate again where that is due, for connections from now on. Returns whether it was.

        A given one that cannot be read any more leaves the former in use. Raises ConfigInvalid, StartFailed.
        """
        settings = self._settings
        if not settings.cert_file:
            own_server(self._directory, self._names(), datetime.now(UTC))
        cert, key = self.files()
        seen = tuple(_mark(path) for path in (cert, key))
        if seen == self._seen:
            return False
        try:
            tls.present(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)  # what fits is loaded; a half-written pair is not
            tls.present(self._context, cert, key)
        except tls.BadFile as odd:
            raise _refused(odd) from odd
        self._seen = seen
        return True

    def files(self) -> tuple[str, str]:
        """Returns where the certificate and its key are; the second is empty where the first has both."""
        if self._settings.cert_file:
            return self._settings.cert_file, self._settings.key_file
        return str(self._directory / SERVER), ""

    def _believe_clients(self) -> None:
        if self._settings.client_ca_file:
            try:
                tls.client_context(self._settings.client_ca_file)
            except tls.BadFile as odd:
                raise _refused(odd) from odd
            self._context.load_verify_locations(cafile=self._settings.client_ca_file)
        if not self._settings.cert_file or _exists(self._directory / "ca.crt"):
            self._context.load_verify_locations(cadata=own_authority(self._directory, datetime.now(UTC)).certificate)

    def _names(self) -> list[str]:
        listens = {self._settings.listen.host.partition("%")[0]} - {""}
        addresses = {str(address) for text in self.addresses | listens if (address := parse_address(text)) is not None}
        wildcards = {text for text in addresses if (address := parse_address(text)) and address.is_unspecified}
        return sorted(_host_names() | {"localhost"}) + sorted({"127.0.0.1", "::1"} | addresses - wildcards)


def own_authority(directory: Path, now: datetime) -> Pair:
    """Returns the authority that is kept in a directory; made where there is none. Raises StartFailed.

    One that is there and cannot be read is not replaced: every client that trusts it would be cut off.
    """
    from k3.server.access.authority import is_authority, new_authority  # noqa: PLC0415 - see `pair`

    cert, key = directory / "ca.crt", directory / "ca.key"
    with _locked(directory):
        if _exists(cert) or _exists(key):
            found = Pair(_read(cert), _read(key))
            if not is_authority(found, now):
                hint = "see that the clock is right, or remove both and give clients the new one"
                msg = f"{cert} and {key} are no authority that may still certify: {hint}"
                raise StartFailed(msg)
            return found
        made = new_authority(socket.gethostname(), now)
        _write(key, made.key)
        _write(cert, made.certificate)
        return made


def own_server(directory: Path, names: list[str], now: datetime) -> None:
    """Has the directory hold a certificate for these names, of the authority there, that is far from its end."""
    from k3.server.access.authority import is_fit, server_pair  # noqa: PLC0415 - see `pair`

    authority = own_authority(directory, now)
    file = directory / SERVER
    with _locked(directory):
        if not is_fit(authority, _read(file), names, now):
            made = server_pair(authority, names, now)
            _write(file, made.certificate + made.key)


def own_client(directory: Path, user: User, now: datetime, *, ttl: timedelta) -> Pair:
    """Makes a client's certificate for a user, of the authority in a directory. Raises ConfigInvalid, StartFailed."""
    from k3.server.access.authority import client_pair  # noqa: PLC0415 - see `pair`

    if len(user.name) > NAME_CHARACTERS:
        msg = f"{user.name}: too long for a certificate, which names {NAME_CHARACTERS} characters (RFC 5280); use a token"
        raise ConfigInvalid(msg)
    groups = [each for each in user.groups if each != AUTHENTICATED]
    return client_pair(own_authority(directory, now), user.name, groups, now, ttl=ttl)


def _host_names() -> set[str]:
    names = {socket.gethostname(), socket.gethostname().partition(".")[0]}
    return {name.lower() for name in names if name and name.isascii() and len(name) <= _HOST_CHARACTERS and " " not in name}


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lets one process at a time look and write there. Raises StartFailed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if why := foreign_link(directory):
            raise StartFailed(why)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    for why in (foreign_link(path), foreign_file(path)):
        if why:
            raise StartFailed(why)
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; let this user, or set XDG_STATE_HOME"
        raise StartFailed(msg) from error


def _write(path: Path, text: str) -> None:
    """Has a file hold this text, for this user alone, from the first moment on. Raises StartFailed."""
    if why := foreign_link(path):
        raise StartFailed(why)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _mark(path: str) -> object:
    """Returns what changes whenever a file does; a chain of links is followed, as those of cert-manager and certbot are."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of a text that may be empty
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _unwritable(path: Path, error: OSError) -> StartFailed:
    return StartFailed(f"cannot write {path}: {error.strerror}; make it writable for this user, or set XDG_STATE_HOME")


def _refused(odd: tls.BadFile) -> ConfigInvalid:
    return ConfigInvalid(f"{_FLAGS[odd.role]}: {odd}")
