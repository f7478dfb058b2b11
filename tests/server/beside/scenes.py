"""All scenes, by topic; each topic's answers are recorded in a file of its own."""

from collections.abc import Mapping, Sequence
from typing import Final

from tests.server.beside import creating, deleting, documents, odd, patching, reading, updating, watching
from tests.server.beside.asking import Scene

ALL: Final[Mapping[str, Sequence[Scene]]] = {
    "creating": creating.SCENES,
    "reading": reading.SCENES,
    "watching": watching.SCENES,
    "updating": updating.SCENES,
    "patching": patching.SCENES,
    "deleting": deleting.SCENES,
    "documents": documents.SCENES,
    "odd": odd.SCENES,
}
