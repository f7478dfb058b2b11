"""The answers of a real kube-apiserver: `python -m tests.server.beside.recording` starts one, and records them all anew.

K3_TEST_KUBE_APISERVER and K3_TEST_ETCD name the programs that the PATH does not find. Only a server that was just started
knows the first revisions of its store still; `… URL TOKEN [TOPIC …]` asks one that is there.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tests.server.beside.asking import EVENTS, JSON_PATCH, LEASES, NODES, Place, Scene, delete, get, patch
from tests.server.beside.comparing import compared, kept
from tests.server.beside.scenes import ALL
from tests.servers.kube_apiserver import TOKEN, kube_apiserver

FOLDER: Final = Path(__file__).parent / "recorded"
_NODE_LEASES: Final = LEASES.replace("default", "kube-node-lease")
_LEFT: Final = (NODES, EVENTS, LEASES, _NODE_LEASES, EVENTS.replace("default", "kube-system"))


def recorded() -> dict[str, list[dict[str, Any]]]:
    """Returns what is on file."""
    found: dict[str, list[dict[str, Any]]] = {}
    for topic in ALL:
        found |= json.loads((FOLDER / f"{topic}.json").read_text(encoding="utf-8"))
    return found


def asked(place: Place, played: Scene) -> list[dict[str, Any]]:
    """Returns the answers of a server on which other scenes were played before."""
    clean(place)
    return compared(place.play(played))


def clean(place: Place) -> None:
    """Takes away what a scene has left."""
    for path in _LEFT:
        for each in place.ask(get(path)).body["items"]:
            name = quote(each["metadata"]["name"], safe="")
            if each["metadata"].get("finalizers"):
                place.ask(patch(f"{path}/{name}", JSON_PATCH, [{"op": "remove", "path": "/metadata/finalizers"}]))
            place.ask(delete(f"{path}/{name}"))


def at(url: str, token: str) -> Place:
    """Returns the server at a URL."""
    parts = urlsplit(url)
    return Place(host=parts.hostname or "", port=parts.port or 443, token=token, is_tls=parts.scheme == "https")


def record(place: Place, topics: list[str]) -> None:
    """Writes the answers of a server down; no topics: all."""
    for topic, scenes in ALL.items():
        if not topics or topic in topics:
            found = {each.name: asked(place, each) for each in scenes}
            (FOLDER / f"{topic}.json").write_text(kept(found), encoding="utf-8")


def _main(words: list[str]) -> None:
    if words:
        record(at(words[0], words[1]), words[2:])
        return
    with kube_apiserver() as server:
        record(Place(host=server.address, port=server.port, token=TOKEN, is_tls=True), [])


if __name__ == "__main__":
    _main(sys.argv[1:])
