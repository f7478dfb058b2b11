"""An agent on a store of each kind in which another program has put every odd object: before it starts, and while it runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import pytest

from k3.agent.agent import Agent
from k3.agent.cache import Notice
from k3.agent.source import Source
from k3.core import node
from k3.core.decision import Decision
from k3.core.objects import EVENT, LEASE, NODE, Key, Manifest, Object
from k3.core.observation import Alive, Evidence, Facts, Joined
from k3.core.sources import NETWORK
from k3.core.store import Change, Store
from k3.network.policy import decide
from k3.stores import connect
from k3.stores.memory import MemoryStore
from tests.lab import until_so
from tests.odd_places import places, strange, unreadable

KINDS: Final = [
    "memory",
    "sqlite",
    pytest.param("mariadb", marks=[pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb")]),
    pytest.param("etcd", marks=pytest.mark.servers("etcd")),
]
NAMESPACES: Final = {NODE: "", EVENT: "default", LEASE: "kube-system"}
BOOT: Final = "b" * 16

Put = Callable[[str, str, bytes], None]
Opened = Callable[[], Any]


class Peers(Source):
    """Says that this machine is there, and of each Node that its machine answers."""

    row = NETWORK

    def __init__(self, agent: Agent, name: str) -> None:
        super().__init__(agent.shared, Facts(node=name, id="a" * 32, boot=BOOT, addresses=("10.0.0.1",), port=7946))
        self.seen: set[str] = set()

    def decide(self, current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
        return decide(current, seen, now=now)

    def on_notice(self, notice: Notice) -> None:
        items = [notice.object] if isinstance(notice, Change) else getattr(notice, "objects", ())
        for item in items:
            self.seen.add(item.key.name)
            if item.key.name != self.facts.node:
                facts = Facts(node=item.key.name, id="c" * 32, addresses=("10.0.0.2",), port=7946)
                self.submit(Alive(name=item.key.name, facts=facts, seen_by=self.facts.node, evidence=Evidence()))

    async def run(self, port: int) -> None:
        self.submit(Joined(name=self.facts.node, facts=self.facts, fresh=True))
        await asyncio.Event().wait()


@pytest.fixture(scope="module", params=KINDS)
def new(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Any]]:
    """Makes an empty store; gives what opens it, and what puts bytes into it as another program does."""
    if request.param == "memory":
        yield memory
        return
    with places(request.param, tmp_path_factory.mktemp("odd")) as make:

        def place() -> tuple[Opened, Put]:
            made = make()
            return lambda: connect(made.storage), made.put

        yield place


def memory() -> tuple[Opened, Put]:
    store = MemoryStore()
    kinds = {kind.name: kind for kind in NAMESPACES}

    async def opened() -> Store:
        return store

    def put(kind: str, name: str, document: bytes) -> None:
        store._revision += 1
        key = Key(kinds[kind], name, NAMESPACES[kinds[kind]])
        item = Object(key=key, uid="u", revision=store._revision, document=document)
        store._objects[key] = item
        store._fanout.publish([Change("ADDED", item)], store._revision)

    return opened, put


@asynccontextmanager
async def running(store: Store, name: str) -> AsyncIterator[Peers]:
    agent = Agent(store)
    source = Peers(agent, name)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        both = [tasks.create_task(agent.run()), tasks.create_task(agent.find([source], 7946))]
        await source.listed.wait()
        yield source
        for task in both:
            task.cancel()


def fill(put: Put, prefix: str) -> set[str]:
    for kind in ("Event", "Lease", "Node"):
        for name, document in {**strange(kind), **unreadable()}.items():
            put(kind, f"{prefix}-{name}", document)
    return {f"{prefix}-{name}" for name in {**strange("Node"), **unreadable()}}


def is_ready(item: Object | None) -> bool:
    return item is not None and not item.unreadable and node.view(item).is_ready


@pytest.fixture
def at(new: Callable[[], Any]) -> tuple[Opened, Put]:
    """Outside of a loop: making a store runs one."""
    opened, put = new()
    return opened, put


@pytest.fixture
def full(at: tuple[Opened, Put]) -> tuple[Opened, Put, set[str]]:
    """One in which there is everything odd already."""
    return (*at, fill(at[1], "before"))


async def test_an_agent_starts_and_goes_on(full: tuple[Opened, Put, set[str]], caplog: pytest.LogCaptureFixture) -> None:
    opened, put, before = full
    store = await opened()
    try:
        with caplog.at_level(logging.INFO, logger="k3"):
            async with running(store, "me") as source:
                await until_so(lambda: is_ready(source.own_node))
                is_memory = isinstance(store, MemoryStore)
                later = fill(put, "while") if is_memory else await asyncio.to_thread(fill, put, "while")
                await until_so(lambda: source.seen >= before | later)
                await store.create(Key(NODE, "healthy"), {})
                await until_so(lambda: "healthy" in source.seen)
                await until_so(source.joined.is_set)
        stored = {item.key.name: item.document for item in (await store.list(NODE)).objects}
        for prefix in ("before", "while"):
            assert {name: stored[f"{prefix}-{name}"] for name in unreadable()} == unreadable(), "none of them is written over"
        assert is_ready(await store.get(Key(NODE, "me")))
    finally:
        await store.aclose()
    assert [record for record in caplog.records if record.getMessage() == "agent.fault"] == []


@pytest.mark.parametrize("kind", ["truncated", "too-large", "very-deep", "label-list"])
async def test_an_unreadable_node_of_its_own_name_is_left_alone(
    at: tuple[Opened, Put], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened, put = at
    put("Node", "me", unreadable()[kind])
    store = await opened()
    try:
        with caplog.at_level(logging.INFO, logger="k3"):
            async with running(store, "me") as source:
                await until_so(source.joined.is_set)
                await until_so(lambda: any(record.getMessage() == "node.not_ours" for record in caplog.records))
                await store.create(Key(NODE, "healthy"), {})
                await until_so(lambda: "healthy" in source.seen)
        assert (await store.get(Key(NODE, "me"))).document == unreadable()[kind]
    finally:
        await store.aclose()
    assert [record for record in caplog.records if record.getMessage() == "agent.fault"] == []
