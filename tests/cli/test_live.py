"""`k3 nodes -w` on a terminal: one table that is kept up to date, as a person sees it."""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k3.core.objects import NODE, Key, Manifest
from k3.stores import connect
from k3.stores.etcd import EtcdStorage
from tests.cli.conftest import StoreFile, node
from tests.cli.pseudo_terminal import Terminal
from tests.servers import etcd_server

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?7h\x1b[?25h\x1b[?1049l"

Open = Callable[..., Terminal]


@pytest.fixture
def on_terminal() -> Iterator[Open]:
    """Run a command on a terminal of its own."""
    opened: list[Terminal] = []

    def run(*arguments: str, **how: object) -> Terminal:
        opened.append(Terminal(*arguments, **how))  # type: ignore[arg-type]
        return opened[-1]

    yield run
    for terminal in opened:
        terminal.close()


def down(name: str) -> Manifest:
    manifest = node(name)
    manifest["status"]["conditions"][0] |= {"status": "False", "reason": "PeerUnreachable"}
    return manifest


def names(terminal: Terminal) -> list[str]:
    return [line.split()[0] for line in terminal.lines[3:] if not line.startswith("…")]


def test_one_table_the_troubled_first_that_follows_the_store(on_terminal: Open, store: StoreFile) -> None:
    live = on_terminal("nodes", "-w", "--store", store.url, columns=200)
    live.wait_for("web2")
    assert live.lines[0] == f"3 Nodes: 2 Ready, 1 NotReady   (q ends)   {store.url}"
    assert live.lines[2].startswith("NAME ")
    assert names(live) == ["box", "web1", "web2"]
    store.put("web2", down("web2"))
    store.put("web3")
    live.wait_for(lambda: names(live) == ["box", "web2", "web1", "web3"])
    assert "NotReady" in live.row("web2")
    assert live.lines[0].startswith("4 Nodes: 2 Ready, 2 NotReady ")
    seen = live.row("web1")
    live.wait_for(lambda: live.row("web1") != seen)  # nothing was written: its age has grown
    store.delete("web2")
    live.wait_for(lambda: names(live) == ["box", "web1", "web3"])


def test_what_does_not_fit_is_counted_and_the_troubled_stay(on_terminal: Open, tmp_path: Path) -> None:
    store = StoreFile(tmp_path / "k3.db")
    for number in range(30):
        store.put(f"n{number:02}")
    store.put("z99", down("z99"))
    live = on_terminal("nodes", "-w", "--store", store.url, lines=10, columns=60)
    live.wait_for("… 25 more, all Ready")
    assert names(live) == ["z99", "n00", "n01", "n02", "n03", "n04"]
    assert len(live.lines) == 10
    assert all(len(line) < 60 for line in live.lines)
    live.resize(120, 40)
    live.wait_for("10.0.0.7")
    live.wait_for("n29")
    assert "more" not in live.text
    live.resize(20, 4)
    live.wait_for("… 31 more,")
    live.resize(1, 1)
    live.press("q")
    assert live.end() == 0


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda live: live.press("q"), 0),
        (lambda live: live.press("\x03"), 130),
        (lambda live: os.kill(live.pid, signal.SIGTERM), 143),
        (lambda live: os.kill(live.pid, signal.SIGINT), 130),
    ],
    ids=["q", "ctrl-c", "sigterm", "sigint"],
)
def test_the_terminal_is_left_as_it_was(
    on_terminal: Open, store: StoreFile, end: Callable[[Terminal], None], code: int
) -> None:
    live = on_terminal("nodes", "-w", "--store", store.url)
    live.wait_for("web2")
    assert live.raw.count(ENTER) == 1
    assert live.flags() != live.before
    end(live)
    assert live.end() == code
    assert live.raw.endswith(LEAVE)
    assert live.flags() == live.before


def test_ctrl_z_gives_the_terminal_back_for_as_long(on_terminal: Open, store: StoreFile) -> None:
    live = on_terminal("nodes", "-w", "--store", store.url)
    live.wait_for("web2")
    live.press("\x1a")
    live.wait_for(lambda: Path(f"/proc/{live.pid}/stat").read_text().rpartition(") ")[2].startswith("T"))
    assert live.raw.endswith(LEAVE)
    assert live.flags() == live.before
    store.put("web3")
    os.kill(live.pid, signal.SIGCONT)
    live.wait_for("web3")
    assert live.flags() != live.before


@pytest.mark.parametrize(
    ("flags", "env"),
    [(("--append",), {}), ((), {"TERM": "dumb"}), (("-o", "name"), {}), (("-o", "json"), {})],
    ids=["append", "dumb", "name", "json"],
)
def test_lines_where_they_are_wanted_or_nothing_else_can_be(
    on_terminal: Open, store: StoreFile, flags: tuple[str, ...], env: dict[str, str]
) -> None:
    lines = on_terminal("nodes", "-w", "--store", store.url, *flags, env=env)
    lines.wait_for("web2")
    store.put("web4", down("web4"))
    lines.wait_for("web4")
    assert ENTER not in lines.raw
    assert b"\x1b[?25l" not in lines.raw


def test_flags_of_the_list_hold_in_the_table(on_terminal: Open, store: StoreFile) -> None:
    store.put("odd", node("odd", labels={"tier": "front\x1b[2J\x1b[99;1Hgone"}))
    live = on_terminal(
        "nodes", "-w", "-l", "tier", "-L", "tier", "--sort-by", "name", "--no-headers", "--store", store.url, columns=150
    )
    live.wait_for("web2")
    assert [line.split()[0] for line in live.lines] == ["odd", "web1", "web2"]
    assert r"front\x1b[2J\x1b[99;1Hgone" in live.row("odd")
    store.put("web1", node("web1"))
    live.wait_for(lambda: not live.row("web1"))


def test_colours_unless_they_are_not_wanted(on_terminal: Open, store: StoreFile) -> None:
    with_colours = on_terminal("nodes", "-w", "--store", store.url)
    with_colours.wait_for("web2")
    assert b"\x1b[32mReady\x1b[0m" in with_colours.raw
    without = on_terminal("nodes", "-w", "--store", store.url, env={"NO_COLOR": "1"})
    without.wait_for("web2")
    assert re.search(rb"\x1b\[\d+m", without.raw) is None


def test_an_empty_store_says_what_to_do_and_fills(on_terminal: Open, tmp_path: Path) -> None:
    store = StoreFile(tmp_path / "k3.db")
    store.put("only")
    store.delete("only")
    live = on_terminal("nodes", "-w", "--store", store.url)
    live.wait_for("No nodes in")
    assert live.lines[0].startswith("0 Nodes   ")
    store.put("web1")
    live.wait_for(lambda: live.lines[0].startswith("1 Node: 1 Ready "))
    assert "No nodes" not in live.text


def fill(endpoint: str) -> None:
    """Writes one Node into an etcd."""

    async def work() -> None:
        store = await connect(EtcdStorage(endpoints=(endpoint,)))
        try:
            await store.create(Key(NODE, "web1"), node("web1"))
        finally:
            await store.aclose()

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.servers("etcd")
def test_an_outage_of_the_store_is_said_and_is_no_loss_of_machines(on_terminal: Open) -> None:
    with etcd_server() as etcd:
        fill(etcd.endpoint)
        live = on_terminal("nodes", "-w", "--store", etcd.endpoint.replace("http:", "etcd:"))
        live.wait_for("web1")
        etcd.stop()
        live.wait_for("As of 0s ago: ")
        assert etcd.endpoint.removeprefix("http:") in live.lines[1]
        seen = live.row("web1")
        live.wait_for("As of 2s ago: ")
        assert live.row("web1") == seen  # ages do not grow while nothing can be seen
        assert " Ready " in seen
        assert live.lines[0].startswith("1 Node: 1 Ready ")
        assert "k3:" not in live.text
        etcd.start()
        live.wait_for("answers again")
        live.press("q")
        assert live.end() == 0
        assert b"trying again" in live.raw.rpartition(LEAVE)[2]
