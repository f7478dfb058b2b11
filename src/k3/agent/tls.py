"""How k3 checks a server's certificate: in the same way with every Python."""

import ssl


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """Checks the server's chain, by `ca_file` or else the system's authorities, and its name. Raises OSError, ValueError.

    Python 3.13 and later besides demand extensions that RFC 5280 asks of an authority and that many which people made for
    themselves lack, such as those of MySQL and of `openssl req -x509`. What was trusted with Python 3.11 is trusted with 3.13.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
