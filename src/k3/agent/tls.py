"""How k3 encrypts as a client, and how it checks a server's certificate: in the same way with every Python.

Files are tried before any connection: a person is told which one cannot be used, and why.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

Check = Literal["identity", "chain", "nothing"]
"""What is checked of a server's certificate: its chain and its name, its chain alone, or nothing."""

Role = Literal["ca", "cert", "key"]

_AUTHORITIES: Final = "SSL_CERT_FILE"
_NO_CERTIFICATE: Final = "it holds no certificate in PEM format"


class BadFile(ValueError):
    """A file that TLS cannot use."""

    def __init__(self, role: Role, path: str, why: str) -> None:
        """`role` is what the file was to be, `why` a few words."""
        super().__init__(f"{path}: {why}")
        self.role = role


@contextmanager
def without_authorities() -> Iterator[None]:
    """Has OpenSSL find no authorities of this machine, while a library is imported that reads them for nothing.

    Importing aiohttp makes two contexts for its client, which k3 does not use: of 0.3 s of CPU they take 0.1 (ADR 60). What is
    made meanwhile believes nobody.
    """
    before = os.environ.get(_AUTHORITIES)
    os.environ[_AUTHORITIES] = os.devnull
    try:
        yield
    finally:
        del os.environ[_AUTHORITIES]
        if before is not None:
            os.environ[_AUTHORITIES] = before


def client_context(ca_file: str = "", *, check: Check = "identity") -> ssl.SSLContext:
    """Returns what checks the server's chain, by `ca_file` or else the system's CAs, and its name. Raises BadFile.

    Python 3.13 and later also demand extensions that RFC 5280 requires of an authority and that many self-made ones lack, such
    as those of MySQL and of `openssl req -x509`. What is trusted with Python 3.11 is trusted with 3.13 (ADR 22).
    """
    if ca_file:
        _check_certificate("ca", ca_file)
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:  # it is being replaced just now
        raise BadFile("ca", ca_file, _NO_CERTIFICATE) from error  # noqa: EM101 - a role
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = check == "identity"
    if check == "nothing":
        context.verify_mode = ssl.CERT_NONE
    return context


def present(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Shows the server this certificate, if one is given. The key may be in the same file. Raises BadFile."""
    if not cert_file:
        return
    _check_certificate("cert", cert_file)
    role: Role = "key" if key_file else "cert"
    path = key_file or cert_file
    _check_readable(role, path)
    asked: list[str] = []

    def no_passphrase() -> str:
        """Returns the passphrase of an encrypted key: none, as asking for it at the terminal would stop the event loop."""
        asked.append(path)
        return ""

    try:
        context.load_cert_chain(cert_file, key_file or None, password=no_passphrase)
    except (OSError, ValueError) as error:
        raise BadFile(role, path, _why_no_key(error, cert_file, is_encrypted=bool(asked))) from error


def check_files(ca_file: str, cert_file: str, key_file: str) -> None:
    """Raises BadFile for what a library of another kind would only say it cannot use, once it connects."""
    present(client_context(ca_file), cert_file, key_file)


def _why_no_key(error: Exception, cert_file: str, *, is_encrypted: bool) -> str:
    if is_encrypted:
        return "its key has a passphrase, which k3 has no way to ask for: store the key without one"
    if "MISMATCH" in str(error):
        return f"its key is not that of the certificate in {cert_file}"
    return "it holds no private key in PEM format"


def _check_readable(role: Role, path: str) -> None:
    try:
        Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise BadFile(role, path, getattr(error, "strerror", None) or str(error)) from error


def _check_certificate(role: Role, path: str) -> None:
    _check_readable(role, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise BadFile(role, path, _NO_CERTIFICATE) from error
