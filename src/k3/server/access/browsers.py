"""What keeps a web page in a browser on this machine from using the API with the rights of the person before it. Pure.

Over loopback no token is asked for, so whatever the browser sends carries its user's rights. A page can make it send requests
to any address (cross-site requests), and can make its own name point to 127.0.0.1 (DNS rebinding). Browsers say by `Origin` and
`Sec-Fetch-Site` (Fetch, Fetch Metadata) that a page of another site is behind a request, and by `Host` which name the page
used. No client of Kubernetes sends the first two; a name that is not loopback's own is never needed there.

The server's own page is of the same origin, so it is let in as any client is. A link on another site may open it, as a whole
document that the other site cannot look into (`frame-ancestors 'none'`), and nothing else (ADR 56).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from k3.core.addresses import is_loopback, parse_port
from k3.server.status import Refused

_SAME: Final = ("same-origin", "none")
_FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def check(headers: Mapping[str, str], *, is_plain: bool, is_file: bool = False) -> None:
    """Raises Refused (403) for a request of a page of another site; `is_plain`: over loopback without TLS.

    No token is asked for there. Names of headers are in lower case. `is_file`: for a file of the server's own page.
    """
    host = headers.get("host")  # none: HTTP/1.0, which no browser speaks, but the health checks of load balancers
    if is_plain and host is not None and not _is_loopback_host(host):
        msg = "forbidden: over loopback without TLS the server answers to localhost, 127.0.0.1 and [::1] only"
        raise Refused(403, msg)
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none")
    is_foreign = site not in _SAME and not (is_file and _is_followed_link(headers))
    if (origin is not None and origin.partition("://")[2] != host) or is_foreign:
        msg = "forbidden: requests of web pages of other sites are not answered"
        raise Refused(403, msg)


def _is_followed_link(headers: Mapping[str, str]) -> bool:
    """Whether the browser is about to show the answer as a document of its own (Fetch Metadata §2.1, §2.2)."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Whether a proxy sent a request for somebody else: the user at the other end of the connection is the proxy's."""
    return any(name in headers for name in _FORWARDED)


@lru_cache(maxsize=64)
def _is_loopback_host(host: str) -> bool:
    """Whether a Host header (RFC 9110 §7.2) names loopback itself, with or without a port."""
    name, port = host, ""
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return False
    elif ":" in host:
        name, _, port = host.partition(":")
        port = f":{port}"
    if port and parse_port(port[1:]) is None:
        return False
    return "%" not in name and is_loopback(name)
