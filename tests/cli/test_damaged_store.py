"""A damaged store is one line that says what is damaged and what to do, whatever the command; never an empty list."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import K3, Start, StoreFile
from tests.damage import DAMAGED, ODD_COLUMNS, ODD_ROWS, OTHERS, odd_row
from tests.lab import until

COMMANDS = {
    "nodes": ("nodes",),
    "watch": ("nodes", "-w"),
    "json": ("nodes", "-o", "json"),
    "describe": ("describe", "node", "web1"),
    "events": ("events",),
    "delete": ("delete", "node", "web1"),
    "check": ("store", "check"),
    "check-read-only": ("store", "check", "--read-only"),
}
"""Every command that looks at a store, but `store copy`, which has no --store."""


def _is_one_line(text: str, *words: str) -> None:
    assert text.count("\n") == 1, text
    assert text.startswith("k3: ")
    assert "unexpected" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("kind", [*DAMAGED, *OTHERS])
def test_a_damaged_store_is_one_line(k3: K3, store: StoreFile, tmp_path: Path, kind: str) -> None:
    damage, words = (DAMAGED | OTHERS)[kind]
    good = StoreFile(tmp_path / "good.db")
    good.put("good")
    damage(store.path)
    commands = [(*command, "--store", store.url) for command in COMMANDS.values()]
    copies = [("store", "copy", store.url, good.url), ("store", "copy", good.url, store.url)]
    for command in commands + copies:
        done = k3(*command)
        assert (done.code, done.out) == (1, ""), command
        _is_one_line(done.err, str(store.path), words)
        if kind in DAMAGED and kind not in {"garbage", "cut"}:
            assert f"{store.path} is damaged: " in done.err
            assert "restore a copy, or move it away with k3.db-wal and k3.db-shm" in done.err
    assert good.names() == ["good"]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("put", "words"),
    [(Path.mkdir, "is a directory; name a file in it"), (_pipe, "is no file, but a pipe"), (_socket, "is no file, but a pipe")],
    ids=["directory", "pipe", "socket"],
)
def test_what_is_no_file_is_said(k3: K3, tmp_path: Path, put: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "k3.db"
    put(path)
    for command in COMMANDS.values():
        done = k3(*command, "--store", f"sqlite://{path}")
        assert (done.code, done.out) == (1, "")
        _is_one_line(done.err, str(path), words)


def test_an_empty_file_is_no_empty_list(k3: K3, tmp_path: Path) -> None:
    path = tmp_path / "k3.db"
    path.touch()
    for command in COMMANDS.values():
        done = k3(*command, "--store", f"sqlite://{path}")
        assert (done.code, done.out) == (1, "")
        _is_one_line(done.err, f"{path} is damaged: the file is empty")
    assert path.stat().st_size == 0


# --- what costs one object


@pytest.mark.parametrize("kind", ODD_ROWS)
def test_an_odd_row_costs_its_own_object(k3: K3, store: StoreFile, kind: str) -> None:
    statement, why = ODD_ROWS[kind]
    odd_row(store.path, statement, "web1")
    done = k3("nodes", "--store", store.url)
    rows = {line.split()[0]: line.split()[1] for line in done.out.splitlines()[1:]}
    assert (done.code, len(rows), rows["web1"]) == (0, 3, "Unreadable")
    assert done.err.count("Node web1: this object cannot be read") == 1
    assert why in done.err
    checked = k3("store", "check", "--store", store.url)
    assert checked.code == 1
    assert why in checked.out
    assert k3("describe", "node", "web1", "--store", store.url).code == 0
    copied = k3("store", "copy", store.url, f"sqlite://{store.path}.copy")
    assert (copied.code, "left out, since they cannot be read: 1" in copied.out) == (0, True)
    assert k3("delete", "node", "web1", "--store", store.url).code == 0
    assert store.names() == ["box", "web2"]
    assert k3("store", "check", "--store", store.url).code == 0


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_what_is_odd_beside_a_document_costs_nothing(k3: K3, store: StoreFile, kind: str) -> None:
    odd_row(store.path, ODD_COLUMNS[kind], "web1")
    for command in COMMANDS.values():
        if command != ("nodes", "-w"):
            done = k3(*command, "--store", store.url)
            assert done.code == 0, (command, done)
    assert store.names() == ["box", "web2"]


def test_a_watch_goes_on(start: Start, store: StoreFile) -> None:
    watching = start("nodes", "-w", "--no-headers", "--store", store.url)
    until(lambda: "web1" in watching.text, what=lambda: watching.text)
    for kind in (*ODD_ROWS, *ODD_COLUMNS):
        store.put(f"before-{kind}")
        odd_row(store.path, ODD_ROWS[kind][0] if kind in ODD_ROWS else ODD_COLUMNS[kind], f"before-{kind}")
        store.put(f"after-{kind}")
        until(lambda kind=kind: f"after-{kind}" in watching.text, what=lambda: watching.text)  # type: ignore[misc]
    assert watching.running
