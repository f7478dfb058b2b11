"""One leads: taken when free, kept by renewing, handed over on release, inherited after silence, never held by two."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random

import pytest

from k3.agent.lease import Leadership, Terms, lease_key
from k3.core.errors import AlreadyExists, NotPermitted
from k3.core.objects import LEASE, Key, Manifest, Object
from k3.core.store import Store
from k3.stores.memory import MemoryStore
from k3.testing.faults import FINE, LOST, FaultyStore
from tests.discovery.consul_lab import eventually
from tests.fake_time import on_fake_time

KEY = lease_key("k3-node")
TERMS = Terms(duration_seconds=1.5, renew_seconds=0.2, proof_seconds=1.0)
PATIENT = Terms(duration_seconds=30, renew_seconds=0.2, proof_seconds=20)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    memory = MemoryStore()
    yield memory
    await memory.aclose()


class Candidate:
    """A process in the election that records when it works."""

    def __init__(self, store: Store, name: str, terms: Terms = TERMS) -> None:
        self.name = name
        self.leadership = Leadership(store, KEY, name, random=Random(name), terms=terms)
        self.works = asyncio.Event()
        self.rounds = 0

    async def work(self) -> None:
        self.works.set()
        self.rounds += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.works.clear()

    @contextlib.asynccontextmanager
    async def competing(self) -> AsyncIterator["Candidate"]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.leadership.run(self.work))
            yield self
            task.cancel()

    async def leads(self) -> None:
        async with asyncio.timeout(20):
            await self.works.wait()
        assert self.leadership.may_write


async def holder(store: Store) -> object:
    return (await store.get(KEY)).manifest()["spec"]["holderIdentity"]


def test_the_lease_has_a_valid_name_whatever_the_service() -> None:
    assert lease_key("k3-node") == Key(LEASE, "k3-discovery-k3-node", "kube-system")
    assert lease_key("My Service").name != lease_key("My service").name
    assert lease_key("My Service").name.startswith("k3-discovery-")


async def test_the_first_one_leads_and_writes_a_lease_that_kubernetes_knows(store: Store) -> None:
    async with Candidate(store, "a", Terms()).competing() as a:
        await a.leads()
        spec = (await store.get(KEY)).manifest()["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", 15, 0)
    assert spec["renewTime"] == spec["acquireTime"]


async def test_while_one_renews_nobody_else_leads(store: Store) -> None:
    async with Candidate(store, "a", Terms(0.6, 0.1, 0.4)).competing() as a:
        await a.leads()
        async with Candidate(store, "b", Terms(0.6, 0.1, 0.4)).competing() as b:
            first = (await store.get(KEY)).revision
            await eventually(lambda: _is_later(store, first + 12))
            assert a.works.is_set()
            assert b.rounds == 0


async def _is_later(store: Store, revision: int) -> bool:
    return (await store.get(KEY)).revision >= revision


async def test_a_release_hands_over_at_once(store: Store) -> None:
    a, b = Candidate(store, "a", PATIENT), Candidate(store, "b", PATIENT)
    async with contextlib.AsyncExitStack() as stack:
        async with a.competing():
            await a.leads()
            await stack.enter_async_context(b.competing())
        await a.leadership.release()
        assert not a.leadership.may_write
        await b.leads()
        assert await holder(store) == "b"
        assert (await store.get(KEY)).manifest()["spec"]["leaseTransitions"] == 1


async def test_silence_for_the_whole_duration_ends_it_and_not_less(store: Store) -> None:
    async with Candidate(store, "a").competing() as a:
        await a.leads()
    last = asyncio.get_running_loop().time()
    async with Candidate(store, "b").competing() as b:
        await b.leads()
        assert asyncio.get_running_loop().time() - last >= TERMS.duration_seconds


async def test_a_deleted_lease_is_free(store: Store) -> None:
    async with Candidate(store, "a", PATIENT).competing() as a:
        await a.leads()
    async with Candidate(store, "b", PATIENT).competing() as b:
        await store.delete(KEY)
        await b.leads()


async def test_of_many_exactly_one_leads(store: Store) -> None:
    candidates = [Candidate(store, f"c{number}", PATIENT) for number in range(20)]
    async with contextlib.AsyncExitStack() as stack:
        for each in candidates:
            await stack.enter_async_context(each.competing())
        await eventually(lambda: _any(candidates))
        first = (await store.get(KEY)).revision
        await eventually(lambda: _is_later(store, first + 5))
        assert sum(each.works.is_set() for each in candidates) == 1
        assert sum(each.leadership.may_write for each in candidates) == 1


async def _any(candidates: list[Candidate]) -> bool:
    return any(each.works.is_set() for each in candidates)


async def test_a_leader_cut_off_from_the_store_stops_writing_before_anybody_else_may_lead(store: Store) -> None:
    faulty = FaultyStore(store)
    async with Candidate(faulty, "a").competing() as a:
        await a.leads()
        async with Candidate(store, "b").competing() as b:
            faulty.down = True
            await eventually(lambda: _is(not a.leadership.may_write))
            assert not b.works.is_set()
            await b.leads()
            assert not a.leadership.may_write
            await eventually(lambda: _is(not a.works.is_set()))
            faulty.down = False
            assert await holder(store) == "b"


async def _is(holds: bool) -> bool:
    return holds


async def test_a_renewal_with_unknown_outcome_does_not_cost_the_lead(store: Store) -> None:
    faulty = FaultyStore(store, [FINE, FINE, LOST])
    async with Candidate(faulty, "a", PATIENT).competing() as a:
        await a.leads()
        first = (await store.get(KEY)).revision
        await eventually(lambda: _is_later(store, first + 5))
        assert a.works.is_set()
        assert a.rounds == 1


async def test_a_lease_of_somebody_else_s_making_is_read_as_far_as_it_goes(store: Store) -> None:
    await store.create(KEY, {"metadata": {"labels": {"team": "x"}}, "spec": {"leaseDurationSeconds": True, "odd": 1}})
    async with Candidate(store, "a", PATIENT).competing() as a:
        await a.leads()
    manifest = (await store.get(KEY)).manifest()
    assert (manifest["metadata"]["labels"], manifest["spec"]["odd"]) == ({"team": "x"}, 1)


async def test_a_store_that_is_away_at_start_is_waited_for(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The store itself tells of its outage; a second warning would say no more."""
    faulty = FaultyStore(store)
    faulty.down = True
    with caplog.at_level("DEBUG", logger="k3"):
        async with Candidate(faulty, "a", PATIENT).competing() as a:
            await eventually(lambda: _is(bool(caplog.records)))
            faulty.down = False
            await a.leads()
    assert caplog.records[0].message == "lease.unavailable"
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


class Unreadable(FaultyStore):
    """Something stands under the Lease's key that no list shows, as a value that is no object."""

    tries = 0

    async def create(self, key: Key, manifest: Manifest) -> Object:
        self.tries += 1
        raise AlreadyExists(str(key))


@on_fake_time
async def test_a_lease_that_cannot_be_read_is_no_reason_to_spin(caplog: pytest.LogCaptureFixture) -> None:
    memory = MemoryStore()
    store = Unreadable(memory)
    async with Candidate(store, "a").competing() as candidate:
        await asyncio.sleep(600)
        assert not candidate.works.is_set()
    assert 600 / 2 <= store.tries <= 600 / 1 + 10, "every one to two seconds, after the first few"
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == ["lease.not_taken"], "said once"
    await memory.aclose()


class NotOurs(Unreadable):
    """Does not let this client write Leases, as for a token that is bound to a machine."""

    async def create(self, key: Key, manifest: Manifest) -> Object:
        self.tries += 1
        raise NotPermitted(str(key))


@on_fake_time
async def test_who_may_not_write_the_lease_says_so_and_asks_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    store = NotOurs(MemoryStore())
    async with Candidate(store, "a").competing() as candidate:
        await asyncio.sleep(600)
        assert not candidate.works.is_set()
    assert store.tries in {9, 10, 11}
    assert {each.message for each in caplog.records} == {"lease.not_taken"}
    await store.inner.aclose()
