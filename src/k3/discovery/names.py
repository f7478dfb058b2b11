"""What Consul's names may look like: those that k3 makes, and, wider, those that Consul shows. Pure."""

import re
from typing import Final

from k3.core import limits

_SERVICE: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,126}[A-Za-z0-9])?")
_OWN_SERVICE_ID: Final = re.compile(r"[!-~]{1,255}")


def is_service(text: str) -> bool:
    """Whether k3 may register and mirror a service of this name."""
    return _SERVICE.fullmatch(text) is not None


def is_own_service_id(text: str) -> bool:
    """Whether k3 may register under this service ID."""
    return _OWN_SERVICE_ID.fullmatch(text) is not None


def is_service_id(text: str) -> bool:
    """Whether this may be the service ID of a machine that another program registered."""
    return 0 < len(text.encode(errors="replace")) <= limits.SERVICE_ID_BYTES and text.isprintable()


def is_consul_node(text: str) -> bool:
    """Whether Consul may have a node of this name."""
    return 0 < len(text) <= limits.NAME_BYTES and text.isprintable()


def is_datacenter(text: str) -> bool:
    """Whether Consul may have a datacenter of this name."""
    return 0 < len(text) <= limits.DATACENTER_CHARACTERS and text.isprintable()
