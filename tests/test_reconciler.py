"""Observations become writes, against real stores: one at a time per Node, on condition, with their Events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from k3.agent import permits
from k3.agent.reconciler import Author, Decide, Reconciler, Writer
from k3.core import limits, node
from k3.core.decision import Create, Decision, Keep
from k3.core.errors import NotPermitted
from k3.core.objects import EVENT, NODE, Key, Manifest, Object
from k3.core.observation import Alive, Evidence, Facts, Joined, Left, Silent
from k3.core.store import Change, Store
from k3.discovery import policy as discovery_policy
from k3.discovery.policy import Mirrored
from k3.network.policy import decide
from k3.stores.enduring import EnduringStore
from k3.stores.memory import MemoryStore
from k3.testing.faults import LOST, REFUSED, FaultyStore
from tests.lab import until_so

FACTS = Facts(node="web", addresses=("10.0.0.2",), port=7946, pid=2, id="1" * 32, boot="b", peer_ttl_seconds=90)
WEB = Key(NODE, "web")


def now() -> datetime:
    return datetime.now(UTC)


def alive(name: str = "web", facts: Facts = FACTS) -> Alive:
    return Alive(name=name, facts=facts, seen_by="hub", evidence=Evidence())


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    memory = MemoryStore()
    yield memory
    await memory.aclose()


def reconciler(store: Store, item: Object | None = None) -> Reconciler:
    """A reconciler that last saw `item`."""
    return Reconciler(store, lookup=lambda _: item)


def writer(store: Store, item: Object | None = None, *, policy: Decide = decide) -> Writer:
    return reconciler(store, item).writer(Author(name="test", decide=policy))


@asynccontextmanager
async def running(reconciler: Reconciler) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        task = tasks.create_task(reconciler.run())
        yield
        task.cancel()


async def first_change(store: Store, since: int) -> Change:
    async with store.watch(NODE, since) as changes:
        async for change in changes:
            if isinstance(change, Change):
                return change
    raise AssertionError


async def events(store: Store) -> list[tuple[str, str]]:
    page = await store.list(EVENT)
    return [(item.key.name, item.manifest()["reason"]) for item in page.objects]


async def test_an_observation_becomes_a_node_and_an_event(store: Store) -> None:
    await writer(store).settle(alive(), now())
    item = await store.get(WEB)
    assert node.view(item).is_ready
    assert await events(store) == [("web.1", "Registered")]
    event = (await store.list(EVENT)).objects[0].manifest()
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "web", "uid": item.uid}
    assert event["metadata"]["namespace"] == "default"
    assert event["reportingComponent"] == "k3-test"


async def test_of_many_agents_with_one_verdict_one_writes_and_one_tells(store: Store) -> None:
    await writer(store).settle(alive(), now())
    seen = node.view(await store.get(WEB))
    verdict = Silent("web", seen.evidence, standing=True, message="no answer for 90s")
    item = await store.get(WEB)
    agents = [reconciler(store, item) for _ in range(10)]
    await asyncio.gather(*(each.writer(Author(name="test", decide=decide)).settle(verdict, now()) for each in agents))
    assert sum(agent.writes for agent in agents) == 1
    assert await events(store) == [("web.1", "Registered"), ("web.2", "NodeNotReady")]


async def test_events_are_bounded_and_overwritten_in_turn(store: Store) -> None:
    agent = writer(store)
    for turn in range(limits.EVENTS_PER_NODE + 10):
        facts = Facts(node="web", addresses=(f"10.0.0.{turn + 1}",), port=1, id="1" * 32, boot="b")
        await agent.settle(Joined(name="web", facts=facts, fresh=turn == 0), now())
    assert len(await events(store)) == limits.EVENTS_PER_NODE


async def test_a_write_without_an_answer_is_dropped_and_said_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Once by the store, for whoever reads and writes there."""
    agent = writer(EnduringStore(FaultyStore(store, [REFUSED, REFUSED, LOST])))
    with caplog.at_level("INFO", logger="k3"):
        for _ in range(4):
            await agent.settle(alive(), now())
    assert [record.message for record in caplog.records][:2] == ["store.lost", "store.found"]
    assert len((await store.list(NODE)).objects) == 1


async def test_a_node_that_cannot_be_written_is_said_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it is that goes wrong: the next observation is worked on."""

    def policy(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
        if seen.name == "bad":
            msg = "out of range"
            raise ValueError(msg)
        return decide(current, seen, now=now)

    agent = writer(store, policy=policy)
    for name in ("bad", "bad", "web"):
        await agent.settle(alive(name), now())
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["node.write_failed"]
    assert node.view(await store.get(WEB)).is_ready


class OwnOnly(MemoryStore):
    """Lets its user create one Node alone, as a token that is bound to a machine does."""

    asked = 0

    async def create(self, key: Key, manifest: Manifest) -> Object:
        if key.kind == NODE and key != WEB:
            self.asked += 1
            msg = f'node "web" is not allowed to modify node "{key.name}"'
            raise NotPermitted(msg)
        return await super().create(key, manifest)


async def test_a_node_that_it_may_not_write_is_left_alone_for_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no outage, and the agent's own Node is written as ever."""
    inner = OwnOnly()
    agent = writer(EnduringStore(inner))
    with caplog.at_level("INFO", logger="k3"):
        for _ in range(5):
            await agent.settle(alive("db"), now())
        await agent.settle(alive(), now())
        assert inner.asked == 1
        monkeypatch.setattr(permits, "PAUSE_SECONDS", 0.0)
        await agent.settle(alive("dc"), now())
        await agent.settle(alive("dc"), now())
    assert inner.asked == 3
    said = [record.getMessage() for record in caplog.records]
    assert said.count("node.not_permitted") == 3
    assert not {"store.lost", "store.found", "node.write_failed"} & set(said)
    assert node.view(await inner.get(WEB)).is_ready
    await inner.aclose()


async def test_a_newer_observation_replaces_the_waiting_one(store: Store) -> None:
    both = reconciler(store)
    agent = both.writer(Author(name="test", decide=decide))
    for pid in range(1, 500):
        agent.submit(alive(facts=replace(FACTS, pid=pid)), now())
    before = (await store.list(NODE)).revision
    async with running(both):
        await first_change(store, before)
    assert node.view(await store.get(WEB)).pid == 499
    assert both.writes == 1


# ── two sources, one reconciler


def mirrored(name: str = "web") -> Mirrored:
    return Mirrored(
        name=name,
        facts=replace(FACTS, node=name),
        service="k3-node",
        service_id=f"k3-node-{name}",
        datacenter="dc1",
        consul_node="box",
        health="passing",
        message="",
    )


async def test_what_one_source_says_of_a_node_does_not_replace_what_another_says(store: Store) -> None:
    heard: list[tuple[str, str]] = []

    def note(author: str) -> Any:
        return lambda _seen, decision, _written: heard.append((author, type(decision).__name__))

    both = reconciler(store)
    network = both.writer(Author(name="network", decide=decide, on_outcome=note("network")))
    discovery = both.writer(Author(name="discovery", decide=discovery_policy.decide, on_outcome=note("discovery")))
    assert network.submit(alive(), now())
    assert discovery.submit(mirrored(), now())
    async with running(both):
        await until_so(lambda: len(heard) == 2)
    assert ("network", Create.__name__) in heard
    assert ("discovery", Keep.__name__) in heard, "whoever came second sees the first one's Node, and leaves it"
    assert node.view(await store.get(WEB)).owner == "network"


async def test_a_thousand_nodes_of_one_source_do_not_keep_the_other_waiting(store: Store) -> None:
    done: list[str] = []
    both = reconciler(store)
    busy = both.writer(Author(name="discovery", decide=discovery_policy.decide, on_outcome=lambda *_: done.append("discovery")))
    quick = both.writer(Author(name="network", decide=decide, on_outcome=lambda *_: done.append("network")))
    for number in range(1_000):
        assert busy.submit(mirrored(f"m{number}"), now())
    assert quick.submit(alive(), now())
    async with running(both):
        await until_so(lambda: "network" in done)
    assert done.index("network") < 2 * limits.WRITERS


async def test_a_full_queue_is_one_sources_own_and_said_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "QUEUE", 3)
    both = reconciler(store)
    busy, other = (both.writer(Author(name=name, decide=decide)) for name in ("discovery", "network"))
    assert [busy.submit(alive(f"m{number}"), now()) for number in range(5)] == [True, True, True, False, False]
    assert other.submit(alive(), now())
    said = [record for record in caplog.records if record.message == "reconciler.full"]
    assert [record.levelname for record in said] == ["WARNING"]


async def test_what_a_source_wanted_that_has_ended_is_dropped(store: Store) -> None:
    both = reconciler(store)
    ended = both.writer(Author(name="network", decide=decide))
    ended.submit(alive("old"), now())
    both.dismiss(ended)
    assert both.recorder.may_write.is_set()
    before = (await store.list(NODE)).revision
    async with running(both):
        both.writer(Author(name="network", decide=decide)).submit(alive(), now())
        assert (await first_change(store, before)).object.key.name == "web"
    assert [item.key.name for item in (await store.list(NODE)).objects] == ["web"]


async def test_who_may_not_write_hears_that_nothing_was_decided(store: Store) -> None:
    heard: list[Decision | None] = []
    both = reconciler(store)
    author = Author(
        name="test", decide=decide, may_write=lambda: False, on_outcome=lambda _, decision, __: heard.append(decision)
    )
    both.writer(author).submit(alive(), now())
    async with running(both):
        await until_so(lambda: heard)
    assert heard == [None]
    assert both.writes == 0


# ── the last word, and what goes wrong on the way


class Slow(FaultyStore):
    """Writes wait at a gate."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.gate = asyncio.Event()
        self.waiting = 0

    async def create(self, key: Key, manifest: Manifest) -> Object:
        if key.kind == NODE:
            self.waiting += 1
            await self.gate.wait()
        return await super().create(key, manifest)


def joined() -> Joined:
    return Joined(name="web", facts=FACTS, fresh=True)


def left() -> Left:
    return Left("web", Evidence(), by_itself=True, boot="b")


@pytest.mark.parametrize("is_waiting", [True, False], ids=["one-more-waits", "one-is-in-flight"])
async def test_a_goodbye_is_the_last_word_about_a_node(store: Store, is_waiting: bool) -> None:
    """What was under way before is not written behind it, and does not keep it from being written."""
    slow = Slow(store)
    both = reconciler(slow)
    agent = both.writer(Author(name="network", decide=decide))
    async with running(both):
        agent.submit(joined(), now())
        await until_so(lambda: slow.waiting == 1)
        if is_waiting:
            agent.submit(joined(), now())
        async with asyncio.TaskGroup() as tasks:
            settling = tasks.create_task(agent.settle(left(), now()))
            await asyncio.sleep(0.02)
            assert not settling.done()
            slow.gate.set()
        await asyncio.sleep(0.05)
    seen = node.view(await store.get(WEB))
    assert seen.ready is not None
    assert (seen.ready.status, seen.ready.reason) == ("False", "NodeShutdown")
    assert not seen.agent


async def test_a_node_whose_outcome_could_not_be_heard_is_worked_on_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    heard = 0

    def hear(*_: object) -> None:
        nonlocal heard
        heard += 1
        if heard == 1:
            agent.submit(alive(facts=replace(FACTS, pid=3)), now())
            raise ValueError

    both = reconciler(store)
    agent = both.writer(Author(name="test", decide=decide, on_outcome=hear))
    async with running(both):
        agent.submit(alive(), now())
        await until_so(lambda: heard == 2)
        await until_so(both.recorder.may_write.is_set)
    assert node.view(await store.get(WEB)).pid == 3
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["agent.fault"]
