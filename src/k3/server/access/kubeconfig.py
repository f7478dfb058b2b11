"""The file by which kubectl and the libraries find a server and show who they are (`kind: Config`). Pure.

It always has a user: without one kubectl asks for a name at the terminal, and lightkube refuses the file.
"""

import base64
from typing import Any, Final

NAME: Final = "k3"


def config(server: str, *, ca: str = "", user: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the document. `ca` is in PEM; empty: the system's authorities, or no TLS at all."""
    cluster: dict[str, Any] = {"server": server}
    if ca:
        cluster["certificate-authority-data"] = _encoded(ca)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": user or {}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}],
        "current-context": NAME,
    }


def by_token(token: str) -> dict[str, Any]:
    """Returns the entry of a user with a token."""
    return {"token": token}


def by_certificate(certificate: str, key: str) -> dict[str, Any]:
    """Returns the entry of a user with a certificate, both in PEM."""
    return {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
