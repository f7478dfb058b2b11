"""Protobuf request bodies (see `bodies`)."""

from k3.core.objects import Kind, Manifest
from k3.server import status


def decode(kind: Kind, body: bytes) -> Manifest:
    """Returns the manifest in a body."""
    msg = f"{kind.name}: {len(body)}"
    raise status.bad_request(msg)
