"""How k3 encrypts as a client, and how it checks a server's certificate: in the same way with every Python."""

import ssl
from typing import Literal

Check = Literal["identity", "chain", "nothing"]
"""What is checked of a server's certificate: its chain and its name, its chain alone, or nothing."""


def client_context(ca_file: str = "", *, check: Check = "identity") -> ssl.SSLContext:
    """Returns what checks the server's chain, by `ca_file` or else the system's CAs, and its name. Raises OSError, ValueError.

    Python 3.13 and later also demand extensions that RFC 5280 requires of an authority and that many self-made ones lack, such
    as those of MySQL and of `openssl req -x509`. What is trusted with Python 3.11 is trusted with 3.13 (ADR 22).
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = check == "identity"
    if check == "nothing":
        context.verify_mode = ssl.CERT_NONE
    return context


def present(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Shows the server this certificate, if one is given. The key may be in the same file. Raises OSError, ValueError."""
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None, password=_no_passphrase)


def _no_passphrase() -> str:
    """Returns the passphrase of an encrypted key: none, as asking for it at the terminal would stop the event loop."""
    return ""
