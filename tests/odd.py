"""What other programs put where an object should be: the bytes, and what k3 says of them."""

import sqlite3
import time
from pathlib import Path
from typing import Final

ODD: Final[dict[str, tuple[bytes, str]]] = {
    "empty": (b"", "it is empty"),
    "truncated": (b'{"metadata":', "not JSON at byte 12"),
    "binary": (b"\xff\xfe\x00", "not UTF-8 at byte 0"),
    "a-list": (b"[1]", "not an object but a list"),
    "a-text": (b'"web"', "not an object but a text"),
    "null": (b"null", "not an object but null"),
    "nan": (b'{"status":{"a":NaN}}', "NaN is not JSON"),
    "too-large": (b'{"metadata":{"name":"x"},"status":{"a":1e999}}', "the number 1e999 is too large"),
    "long-number": (b'{"a":' + b"1" * 5_000 + b"}", "a whole number has 5000 digits"),
    "deep": (b'{"a":' + b"[" * 400 + b"]" * 400 + b"}", "nested more than 100 deep"),
    "very-deep": (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested more than 100 deep"),
    "metadata-text": (b'{"metadata":"x"}', "its metadata is not an object but a text"),
    "labels-text": (b'{"metadata":{"labels":"abc"}}', "its labels are not an object but a text"),
    "label-list": (b'{"metadata":{"labels":{"a":["b"]}}}', "of its labels, 'a' is not a text but a list"),
    "annotation-number": (b'{"metadata":{"annotations":{"a":1}}}', "of its annotations, 'a' is not a text but a number"),
}


PATHS: Final = {
    "Node": "//v1/Node/{}",
    "Event": "//v1/Event/default/{}",
    "Lease": "/coordination.k8s.io/v1/Lease/kube-system/{}",
}
"""Under which key a store keeps an object of a kind."""


def insert(path: Path, document: bytes, name: str, *, kind: str = "Node") -> None:
    """Puts a document under an object's key into the tables of a SQLite store, as another program might."""
    with sqlite3.connect(path, timeout=10) as file:
        file.execute("BEGIN IMMEDIATE")  # agents may write at the same time
        revision = file.execute("SELECT rev FROM meta").fetchone()[0] + 1
        key = PATHS[kind].format(name)
        file.execute("UPDATE meta SET rev = ?", (revision,))
        file.execute("INSERT OR REPLACE INTO cur VALUES (?, ?)", (key, revision))
        row = (revision, key, "create", time.time(), "u" * 8, "2026-11-27T00:00:00Z", document)
        file.execute("INSERT INTO log VALUES (?, ?, 0, ?, ?, ?, ?, ?)", row)
    file.close()


def stored(path: Path) -> dict[str, bytes]:
    """The documents of a SQLite store's Nodes, by name."""
    with sqlite3.connect(path, timeout=10) as file:
        rows = file.execute("SELECT cur.k, doc FROM cur JOIN log ON cur.k = log.k AND cur.rev = log.rev").fetchall()
    file.close()
    return {key.rpartition("/")[2]: bytes(document) for key, document in rows if key.startswith("//v1/Node/")}
