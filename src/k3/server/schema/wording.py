"""Texts as Go writes them in the messages of Kubernetes. Pure."""

import json
from typing import Any, Final

from k3.core.safe_text import quoted

SHOWN_CHARACTERS: Final = 1_000
"""Of a document that a message shows."""


def character(text: str) -> str:
    """Returns the first byte of a text in single quotes, as encoding/json names what it did not expect."""
    first = chr(text.encode("utf-8", "surrogatepass")[0])
    return {"'": "'\\''", '"': "'\"'"}.get(first, f"'{quoted(first)[1:-1]}'")


def document(value: Any) -> str:  # noqa: ANN401 - JSON
    """Returns JSON for a message, cut where it is long."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."
