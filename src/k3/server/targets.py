"""`/sd`: the Nodes as targets for Prometheus' `http_sd_configs`, one group for each Node. Pure.

The labels are those of Prometheus' own role `node` (`kubernetes_sd_configs`), so that relabelling rules written for it work
here, and two of k3's own. Annotations of k3's are left out: they change whenever a machine is seen.
"""

import re
from typing import Any, Final

from k3.core import node, ownership
from k3.core.addresses import authority, parse_port
from k3.core.objects import Manifest
from k3.core.sources import SOURCES
from k3.server.status import bad_request
from k3.view import node_table
from k3.view.cells import Moment, part, text_at, texts

PORT: Final = 9_100
"""Where Prometheus' node exporter answers."""

_KUBERNETES: Final = "__meta_kubernetes_node_"
_K3: Final = "__meta_k3_"
_NO_LABEL_CHARACTER: Final = re.compile(r"[^a-zA-Z0-9_]")
_ADDRESS_TYPES: Final = ("InternalIP", "ExternalIP", "LegacyHostIP", "Hostname")
"""In this order a Node is reached."""
_OWN_PREFIXES: Final = tuple(row.prefix for row in SOURCES.values())


def port_of(text: str) -> int:
    """Returns the port that a query asks for; without one, `PORT`. Raises Refused."""
    if not text:
        return PORT
    if not (port := parse_port(text)):
        msg = "port: expected a number from 1 to 65535"
        raise bad_request(msg)
    return port


def target_group(manifest: Manifest, port: int, at: Moment) -> dict[str, Any] | None:
    """Returns the target group of one Node; None for a Node without any address."""
    addresses = dict(reversed(node.addresses(part(manifest, "status"))))  # of each type the first
    host = next((addresses[kind] for kind in _ADDRESS_TYPES if addresses.get(kind)), "")
    if not host:
        return None
    name = text_at(manifest, "metadata", "name")
    labels = {
        "instance": name,
        _KUBERNETES + "name": name,
        _KUBERNETES + "provider_id": text_at(manifest, "spec", "providerID"),
        _K3 + "source": ownership.owner(manifest) or "",
        _K3 + "status": node_table.status_word(manifest, at),
    }
    for kind, address in addresses.items():
        labels[_KUBERNETES + "address_" + _sanitized(kind)] = address
    for which in ("label", "annotation"):
        for key, text in texts(part(manifest, "metadata", which + "s")).items():
            if which == "label" or not key.startswith(_OWN_PREFIXES):
                labels[f"{_KUBERNETES}{which}_{_sanitized(key)}"] = text
                labels[f"{_KUBERNETES}{which}present_{_sanitized(key)}"] = "true"
    return {"targets": [authority(host, port)], "labels": labels}


def _sanitized(key: str) -> str:
    """Returns a key as part of a label's name, as Prometheus writes it."""
    return _NO_LABEL_CHARACTER.sub("_", key)
