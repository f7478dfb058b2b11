"""Observations become writes, against real stores: one at a time per Node, on condition, with their Events."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from k3.agent.cache import Cache, Listed, Lost
from k3.agent.reconciler import Reconciler, Work
from k3.core import limits, node
from k3.core.decision import Decision
from k3.core.objects import EVENT, NODE, Key, Manifest
from k3.core.observation import Alive, Evidence, Facts, Joined, Silent
from k3.core.store import Change, Store
from k3.network.policy import decide
from k3.stores.enduring import EnduringStore
from k3.stores.memory import MemoryStore
from k3.testing.faults import LOST, REFUSED, FaultyStore

FACTS = Facts(node="web", addresses=("10.0.0.2",), port=7946, pid=2, id="1" * 32, boot="b", peer_ttl_seconds=90)
WEB = Key(NODE, "web")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    memory = MemoryStore()
    yield memory
    await memory.aclose()


def reconciler(store: Store) -> Reconciler:
    return Reconciler(store, lookup=lambda _: None, reporter="k3-test", policy=decide)


async def events(store: Store) -> list[tuple[str, str]]:
    page = await store.list(EVENT)
    return [(item.key.name, item.manifest()["reason"]) for item in page.objects]


async def test_an_observation_becomes_a_node_and_an_event(store: Store) -> None:
    await reconciler(store).settle(Work(Alive(name="web", facts=FACTS, seen_by="hub", evidence=Evidence()), now()))
    item = await store.get(WEB)
    assert node.view(item).is_ready
    assert await events(store) == [("web.1", "Registered")]
    event = (await store.list(EVENT)).objects[0].manifest()
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "web", "uid": item.uid}
    assert event["metadata"]["namespace"] == "default"


async def test_of_many_agents_with_one_verdict_one_writes_and_one_tells(store: Store) -> None:
    await reconciler(store).settle(Work(Alive(name="web", facts=FACTS, seen_by="hub", evidence=Evidence()), now()))
    seen = node.view(await store.get(WEB))
    verdict = Work(Silent("web", seen.evidence, standing=True, message="no answer for 90s"), now())
    item = await store.get(WEB)
    agents = [Reconciler(store, lookup=lambda _: item, reporter="k3-test", policy=decide) for _ in range(10)]
    await asyncio.gather(*(agent.settle(verdict) for agent in agents))
    assert sum(agent.writes for agent in agents) == 1
    assert await events(store) == [("web.1", "Registered"), ("web.2", "NodeNotReady")]


async def test_events_are_bounded_and_overwritten_in_turn(store: Store) -> None:
    agent = reconciler(store)
    for turn in range(limits.EVENTS_PER_NODE + 10):
        await agent.settle(
            Work(
                Joined(
                    name="web",
                    facts=Facts(node="web", addresses=(f"10.0.0.{turn + 1}",), port=1, id="1" * 32, boot="b"),
                    fresh=turn == 0,
                ),
                now(),
            )
        )
    assert len(await events(store)) == limits.EVENTS_PER_NODE


async def test_a_write_without_an_answer_is_dropped_and_said_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Once by the store, for whoever reads and writes there."""
    agent = reconciler(EnduringStore(FaultyStore(store, [REFUSED, REFUSED, LOST])))
    with caplog.at_level("INFO", logger="k3"):
        for _ in range(3):
            await agent.settle(Work(Alive(name="web", facts=FACTS, seen_by="hub", evidence=Evidence()), now()))
        await agent.settle(Work(Alive(name="web", facts=FACTS, seen_by="hub", evidence=Evidence()), now()))
    assert [record.message for record in caplog.records][:2] == ["store.lost", "store.found"]
    assert len((await store.list(NODE)).objects) == 1


async def test_a_node_that_cannot_be_written_is_said_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it is that goes wrong: the next observation is worked on."""

    def policy(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
        if seen.name == "bad":
            msg = "out of range"
            raise ValueError(msg)
        return decide(current, seen, now=now)

    agent = Reconciler(store, lookup=lambda _: None, reporter="k3-test", policy=policy)
    for name in ("bad", "bad", "web"):
        await agent.settle(Work(Alive(name=name, facts=FACTS, seen_by="hub", evidence=Evidence()), now()))
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["node.write_failed"]
    assert node.view(await store.get(WEB)).is_ready


async def test_a_newer_observation_replaces_the_waiting_one(store: Store) -> None:
    agent = reconciler(store)
    for pid in range(1, 500):
        agent.submit(
            Alive(
                name="web",
                facts=Facts(node="web", addresses=("10.0.0.2",), port=7946, pid=pid, id="1" * 32, boot="b"),
                seen_by="hub",
                evidence=Evidence(),
            ),
            now(),
        )
    before = (await store.list(NODE)).revision
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        running = tasks.create_task(agent.run())
        async with store.watch(NODE, before) as changes:
            async for change in changes:
                if isinstance(change, Change):
                    break
        running.cancel()
    assert node.view(await store.get(WEB)).pid == 499
    assert agent.writes == 1


async def test_the_cache_lists_follows_and_says_when_the_store_is_away(store: Store) -> None:
    faulty = FaultyStore(store)
    cache = Cache(faulty, NODE, random=Random(1))
    notices = cache.follow()
    async with asyncio.timeout(10):
        assert isinstance(await anext(notices), Listed)
        await store.create(WEB, {"metadata": {"name": "web"}})
        change = await anext(notices)
        assert isinstance(change, Change)
        assert change.type == "ADDED"
        assert WEB in cache.objects
        faulty.down = True
        faulty.cut_watches()
        assert isinstance(await anext(notices), Lost)
        await store.delete(WEB)
        assert WEB in cache.objects
        faulty.down = False
        while not isinstance(await anext(notices), Listed):
            pass
        assert WEB not in cache.objects
    await notices.aclose()
