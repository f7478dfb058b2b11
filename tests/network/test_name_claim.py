"""Who gets a name: at start, and later when another machine turns out to use it. Exact times, without a network."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from k3.core import node
from k3.core.decision import Create
from k3.core.errors import NameTaken
from k3.core.node import NodeView
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.observation import Facts, Joined
from k3.network import naming, policy
from k3.network.events import NameKept
from k3.network.messages import Announcement, Answered, Endpoint, LocalFault, NoAnswer, Outcome, Target, Withdrawal
from k3.network.name_claim import AGAIN_SECONDS, HOLDERS, PROBE_SECONDS, NameClaim, Wanted, listen
from k3.network.naming import NameLost, Settled
from k3.network.probe import Via
from k3.stores.memory import MemoryStore
from k3.testing.faults import FaultyStore
from tests.fake_time import now, on_fake_time

T = 90.0
DAY = datetime(2026, 11, 23, 8, tzinfo=UTC)
ME = Facts(node="web", addresses=("10.0.0.1",), port=7946, pid=1, id="a" * 32, boot="1" * 16, peer_ttl_seconds=T)
OTHER = replace(ME, addresses=("10.0.0.2",), id="b" * 32, boot="2" * 16)
SECOND = "web-aaaaaa"
WEB = Key(NODE, "web")
HELD = f'node name "web" is held by another live machine (id {"b" * 8})'


def manifest(facts: Facts, *, after: float = 0.0) -> Manifest:
    """The Node as its machine's own agent writes it, so many seconds later."""
    decision = policy.decide(None, Joined(name=facts.node, facts=facts, fresh=True), now=DAY + timedelta(seconds=after))
    assert isinstance(decision, Create)
    return decision.manifest


def announced(facts: Facts, *, id_: str | None = None) -> Announcement:
    return Announcement(
        instance=f"{facts.node}-{facts.id[:8]}",
        node=facts.node,
        addresses=facts.addresses,
        port=facts.port,
        id=facts.id if id_ is None else id_,
    )


def answer(facts: Facts, *, uptime: float = 0.0, store: str = "") -> Answered:
    end = Endpoint(facts.addresses[0], facts.port)
    return Answered(facts=facts, endpoint=end, group=0, uptime_seconds=uptime, store_id=store)


def target(facts: Facts) -> Target:
    return Target(facts.node, ((Endpoint(facts.addresses[0], facts.port),),), facts.id)


class Bench:
    """A claim on a store in memory. `answers`: what comes of asking an id; any other one is silent."""

    def __init__(self, *, explicit: bool = False, former: str = "", conflict_with: str = "") -> None:
        self.store = MemoryStore()
        self.faulty = FaultyStore(self.store)
        self.cache: dict[Key, Object] = {}
        self.answers: dict[str, Outcome] = {}
        self.asked: list[tuple[float, Target]] = []
        self.told: list[NameKept] = []
        self.began_at = now()
        self.claim = NameClaim(
            Wanted(name="web", is_explicit=explicit, peer_ttl_seconds=T, former=former, conflict_with=conflict_with),
            self.faulty,
            shown=self.cache.get,
            uptime=lambda: now() - self.began_at,
            tell=self.told.append,
            ask=self._ask,
        )

    async def _ask(self, target: Target, *, timeout_seconds: float, via: Via = str) -> Outcome:
        self.asked.append((now() - self.began_at, target))
        if target.id not in self.answers:
            await asyncio.sleep(timeout_seconds)
            return NoAnswer("no answer in time")
        return self.answers[target.id]

    async def put(self, facts: Facts, *, after: float = 0.0, change: Callable[[Manifest], None] = lambda _: None) -> None:
        """The store shows this Node, and so does the cache."""
        written = manifest(facts, after=after)
        change(written)
        current = self.store._objects.get(WEB)
        if current is None:
            self.cache[WEB] = await self.store.create(WEB, written)
        else:
            self.cache[WEB] = await self.store.update(current.with_manifest(written))

    async def settle(self, *heard: Announcement, own_id: str = ME.id, former: str = "") -> Settled:
        await self.claim.look_up(ME.id, lambda address: address.startswith("10.0.0."))
        return await self.claim.settle(heard, own_id, former=former)

    async def began(self) -> "Bench":
        """The claim is settled, and nobody else had the name then."""
        assert await self.settle() == Settled("web")
        self.asked.clear()
        return self

    @property
    def seconds(self) -> float:
        return now() - self.began_at

    @property
    def view(self) -> NodeView:
        return node.view(self.cache[WEB])

    @property
    def times(self) -> list[float]:
        return [round(at, 3) for at, _ in self.asked]


def not_ready(written: Manifest) -> None:
    node.set_condition(written, node.READY, status="False", reason="PeerUnreachable", message="", now=DAY)


def suspected(written: Manifest) -> None:
    node.set_condition(written, node.REACHABLE, status="False", reason="Suspected", message="", now=DAY)


def without_agent(written: Manifest) -> None:
    del written["metadata"]["annotations"]["k3.network/agent"]


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# --- at start: a holder that answers


@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "announced"])
@on_fake_time
async def test_a_chosen_name_whose_holder_answers_is_refused(is_recorded: bool) -> None:
    bench = Bench(explicit=True)
    bench.answers[OTHER.id] = answer(OTHER)
    if is_recorded:
        await bench.put(OTHER)
    with pytest.raises(NameTaken) as caught:
        await bench.settle(*([] if is_recorded else [announced(OTHER)]))
    assert caught.value.exit_code == 5
    assert str(caught.value) == f"{HELD} at 10.0.0.2 port 7946; choose another --node-name, or stop that one first"
    assert [asked for _, asked in bench.asked] == [target(OTHER)]


@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "announced"])
@on_fake_time
async def test_a_host_name_whose_holder_answers_gets_a_suffix(is_recorded: bool, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.answers[OTHER.id] = answer(OTHER)
    if is_recorded:
        await bench.put(OTHER)
    settled = await bench.settle(*([] if is_recorded else [announced(OTHER)]))
    assert settled == Settled(SECOND, conflict_with="web", held_at="at 10.0.0.2 port 7946")
    assert bench.claim.settled == settled
    assert events(caplog) == ["name.taken"]
    assert caplog.records[0].fields == {  # type: ignore[attr-defined]
        "wanted": "web",
        "using": SECOND,
        "held": "at 10.0.0.2 port 7946",
        "advice": naming.ADVICE,
    }


@on_fake_time
async def test_any_of_several_holders_may_answer() -> None:
    third = replace(OTHER, id="c" * 32, addresses=("10.0.0.3",))
    bench = Bench()
    bench.answers[third.id] = answer(third)
    await bench.put(OTHER)
    assert (await bench.settle(announced(third))).held_at == "at 10.0.0.3 port 7946"


@on_fake_time
async def test_a_flood_of_announcements_is_not_asked_to_its_end() -> None:
    bench = Bench()
    await bench.settle(*(announced(replace(OTHER, id=f"{number:032x}")) for number in range(1, 3 * HOLDERS)))
    assert len(bench.asked) == HOLDERS


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(announced(OTHER, id_=""), id="no-id"),
        pytest.param(announced(ME), id="this-machine"),
        pytest.param(announced(replace(OTHER, node="db")), id="another-name"),
    ],
)
@on_fake_time
async def test_who_does_not_hold_the_name_is_not_asked(heard: Announcement) -> None:
    bench = Bench()
    assert await bench.settle(heard) == Settled("web")
    assert bench.asked == []


@on_fake_time
async def test_an_id_that_was_this_machines_is_its_clones_once_it_has_another() -> None:
    bench = Bench()
    bench.answers[ME.id] = answer(replace(OTHER, id=ME.id))
    assert (await bench.settle(announced(ME), own_id="d" * 32)).name == "web-dddddd"


# --- at start: what the store shows


@on_fake_time
async def test_its_own_node_is_handed_over_and_is_no_holder() -> None:
    bench = Bench(explicit=True)
    assert await bench.claim.look_up(ME.id, lambda _: True) is None
    await bench.put(ME)
    stored = await bench.claim.look_up(ME.id, lambda _: True)
    assert stored is not None
    assert stored.id == ME.id
    assert await bench.claim.settle([], ME.id) == Settled("web")
    assert bench.asked == []


@on_fake_time
async def test_a_node_of_another_controller_is_no_holder() -> None:
    bench = Bench(explicit=True)
    await bench.put(OTHER, change=lambda written: written["metadata"].pop("labels"))
    assert await bench.settle() == Settled("web")
    assert bench.asked == []


@on_fake_time
async def test_a_store_that_does_not_answer_holds_no_name() -> None:
    bench = Bench(explicit=True)
    await bench.put(OTHER)
    bench.faulty.down = True
    assert await bench.settle() == Settled("web")


@pytest.mark.parametrize("explicit", [True, False], ids=["chosen", "host-name"])
@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(OTHER, id="refreshed"),
        pytest.param(replace(OTHER, boot="3" * 16), id="another-run"),
    ],
)
@on_fake_time
async def test_a_silent_holder_whose_node_is_refreshed_keeps_the_name(
    sign: Facts, explicit: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(explicit=explicit)
    await bench.put(OTHER)
    patience = naming.patience_seconds(bench.view, T)
    async with asyncio.TaskGroup() as tasks:
        settling = tasks.create_task(caught(bench.settle()))
        await asyncio.sleep(patience)
        assert not settling.done()
        await bench.put(sign, after=30.0 if sign is OTHER else 0.0)
    if explicit:
        assert str(settling.result()).startswith(f"{HELD} on another network (10.0.0.2)")
    else:
        assert settling.result() == Settled(SECOND, conflict_with="web", held_at="on another network (10.0.0.2)")
    assert bench.seconds < PROBE_SECONDS + patience
    assert events(caplog)[0] == "name.waiting"
    assert caplog.records[0].fields == {  # type: ignore[attr-defined]
        "wanted": "web",
        "held": ("10.0.0.2",),
        "why": "its holder does not answer here",
        "seconds": patience,
    }


async def caught(work: Awaitable[Settled]) -> Settled | NameTaken:
    try:
        return await work
    except NameTaken as error:
        return error


@on_fake_time
async def test_a_dead_holder_is_displaced_once_a_live_one_would_have_been_seen() -> None:
    bench = Bench(explicit=True)
    await bench.put(OTHER)
    assert await bench.settle() == Settled("web", displaces=OTHER.id)
    assert bench.seconds == pytest.approx(PROBE_SECONDS + naming.patience_seconds(bench.view, T))


@pytest.mark.parametrize("change", [not_ready, suspected, without_agent])
@on_fake_time
async def test_a_holder_that_the_store_does_not_show_as_alive_is_displaced_at_once(change: Callable[[Manifest], None]) -> None:
    bench = Bench(explicit=True)
    await bench.put(OTHER, change=change)
    assert await bench.settle() == Settled("web", displaces=OTHER.id)
    assert bench.seconds == pytest.approx(PROBE_SECONDS)


@on_fake_time
async def test_a_holder_on_another_network_without_an_agent_of_its_own_is_waited_for_too() -> None:
    """Other observers may see it, and refresh its Node."""
    bench = Bench()
    await bench.put(replace(OTHER, addresses=("192.168.7.7",)), change=without_agent)
    assert await bench.settle() == Settled("web", displaces=OTHER.id)
    assert bench.asked == []
    assert bench.seconds > T / 3


@pytest.mark.parametrize("change", [not_ready, suspected])
@on_fake_time
async def test_who_others_find_dead_meanwhile_is_displaced_then(change: Callable[[Manifest], None]) -> None:
    bench = Bench(explicit=True)
    await bench.put(OTHER)
    async with asyncio.TaskGroup() as tasks:
        settling = tasks.create_task(bench.settle())
        await asyncio.sleep(10.0)
        await bench.put(OTHER, after=10.0, change=change)
    assert settling.result() == Settled("web", displaces=OTHER.id)
    assert bench.seconds < 11.0


async def removed(bench: Bench) -> None:
    await bench.store.delete(WEB)


async def taken_by_a_third(bench: Bench) -> None:
    await bench.put(replace(OTHER, id="c" * 32), after=10.0)


@pytest.mark.parametrize("change", [removed, taken_by_a_third])
@on_fake_time
async def test_a_node_that_is_no_longer_the_holders_shows_no_life_of_it(change: Callable[[Bench], Awaitable[None]]) -> None:
    bench = Bench(explicit=True)
    await bench.put(OTHER)
    async with asyncio.TaskGroup() as tasks:
        settling = tasks.create_task(bench.settle())
        await asyncio.sleep(10.0)
        await change(bench)
    assert settling.result() == Settled("web", displaces=OTHER.id)
    assert bench.seconds < 11.0


# --- at start: after an earlier run


@on_fake_time
async def test_what_this_machine_wrote_under_a_former_id_is_its_own() -> None:
    bench = Bench(explicit=True, former=OTHER.id)
    await bench.put(OTHER)
    assert await bench.settle() == Settled("web", displaces=OTHER.id)
    assert bench.asked == []


@on_fake_time
async def test_an_identity_that_was_left_to_a_clone_just_now_is_displaced_too() -> None:
    bench = Bench(explicit=True)
    assert (await bench.settle(own_id="d" * 32, former=ME.id)).displaces == ME.id


@on_fake_time
async def test_the_name_it_lost_first_is_the_one_it_is_in_conflict_with() -> None:
    bench = Bench(conflict_with="first")
    assert await bench.settle() == Settled("web", conflict_with="first")
    bench.answers[OTHER.id] = answer(OTHER)
    assert (await bench.settle(announced(OTHER))).conflict_with == "first"


@on_fake_time
async def test_an_agent_listens_before_it_speaks() -> None:
    said: asyncio.Queue[Announcement | Withdrawal] = asyncio.Queue()
    loop, began_at = asyncio.get_running_loop(), now()
    loop.call_later(0.29, said.put_nowait, announced(OTHER))
    loop.call_later(0.31, said.put_nowait, announced(ME))
    assert await listen(said.get) == [announced(OTHER)]
    assert now() - began_at == pytest.approx(0.3)


# --- later, on one store: the Node decides


@on_fake_time
async def test_whoevers_id_is_in_the_node_stands_however_long_the_other_has_run(caplog: pytest.LogCaptureFixture) -> None:
    bench = await Bench(explicit=True).began()
    await bench.put(ME)
    bench.answers[OTHER.id] = answer(OTHER, uptime=1e5, store=bench.store.id)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(bench.claim.contest(target(OTHER)))
        await asyncio.sleep(100.0)
        assert bench.told == []
        contest.cancel()
    assert events(caplog) == ["name.contested"], "said once"
    assert caplog.records[0].fields == {"node": "web", "other": "10.0.0.2", "advice": naming.ADVICE}  # type: ignore[attr-defined]
    assert bench.times[:9] == [0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 30.75, 45.75]


@on_fake_time
async def test_whoevers_id_is_not_in_the_node_gives_way_however_long_it_has_run() -> None:
    bench = await Bench().began()
    await bench.put(OTHER)
    bench.answers[OTHER.id] = answer(OTHER, store=bench.store.id)
    await asyncio.sleep(1e4)
    with pytest.raises(NameLost) as lost:
        await bench.claim.contest(target(OTHER))
    assert (lost.value.second, lost.value.held_at, lost.value.former) == (SECOND, "at 10.0.0.2 port 7946", "")


@on_fake_time
async def test_who_was_told_its_name_ends_instead_of_giving_way() -> None:
    bench = await Bench(explicit=True).began()
    await bench.put(OTHER)
    bench.answers[OTHER.id] = answer(OTHER, store=bench.store.id)
    with pytest.raises(NameTaken, match=r"at 10\.0\.0\.2 port 7946"):
        await bench.claim.contest(target(OTHER))


@on_fake_time
async def test_until_there_is_a_node_neither_of_two_on_one_store_gives_way() -> None:
    bench = await Bench().began()
    bench.answers[OTHER.id] = answer(OTHER, uptime=1e5, store=bench.store.id)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(caught_lost(bench.claim.contest(target(OTHER))))
        await asyncio.sleep(3.0)
        assert not contest.done()
        await bench.put(OTHER)
    assert contest.result() == SECOND


async def caught_lost(work: Awaitable[None]) -> str:
    with suppress(NameLost):
        await work
        return ""
    return SECOND


@on_fake_time
async def test_a_node_without_an_id_leaves_it_to_the_uptimes() -> None:
    bench = await Bench().began()
    await bench.put(ME, change=lambda written: written["metadata"]["annotations"].pop("k3.network/id"))
    bench.answers[OTHER.id] = answer(OTHER, uptime=1e5, store=bench.store.id)
    with pytest.raises(NameLost):
        await bench.claim.contest(target(OTHER))


# --- later, on separate stores: whoever has run for longer


@pytest.mark.parametrize(
    ("own", "theirs", "their_id", "gives_way"),
    [
        pytest.param(100.0, 103.0, "f" * 32, True, id="shorter"),
        pytest.param(100.0, 97.0, "0" * 32, False, id="longer"),
        pytest.param(100.0, 101.0, "0" * 32, True, id="alike, the lower id keeps it"),
        pytest.param(100.0, 101.0, "f" * 32, False, id="alike, and this is the lower id"),
    ],
)
@pytest.mark.parametrize("store", ["", "another"], ids=["unknown-store", "another-store"])
@on_fake_time
async def test_whoever_has_run_for_longer_keeps_it(
    own: float, theirs: float, their_id: str, gives_way: bool, store: str
) -> None:
    bench = await Bench().began()
    await bench.put(OTHER if not gives_way else ME)  # this store's Node does not count
    other = replace(OTHER, id=their_id)
    bench.answers[their_id] = answer(other, uptime=theirs, store=store)
    await asyncio.sleep(own)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(caught_lost(bench.claim.contest(target(other))))
        await asyncio.sleep(1.0)
        assert contest.done() is gives_way
        contest.cancel()
    assert not gives_way or contest.result() == SECOND


# --- later: what is no namesake, or no longer


@on_fake_time
async def test_a_forged_announcement_leads_back_to_this_machine() -> None:
    bench = await Bench().began()
    forged = replace(OTHER, id="")
    bench.answers[""] = answer(ME, uptime=1e5)
    for _ in range(2):
        await bench.claim.contest(target(forged))
    assert bench.told == []
    assert bench.times == [0.0, 0.0], "it may be forged again, and is then looked at again"


@on_fake_time
async def test_a_namesake_that_goes_away_is_displaced() -> None:
    bench = await Bench().began()
    await bench.put(ME)
    bench.answers[OTHER.id] = answer(OTHER, store=bench.store.id)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(bench.claim.contest(target(OTHER)))
        await asyncio.sleep(1.0)
        del bench.answers[OTHER.id]
        await asyncio.sleep(0.75 + PROBE_SECONDS - 0.1)
        assert bench.told == []
        await asyncio.sleep(0.2)
        assert bench.told == [NameKept(OTHER.id)]
        await bench.claim.contest(target(OTHER))
        assert bench.times == [0.0, 0.25, 0.75, 1.75], "it has a moment to be gone from everywhere"
    assert contest.done()
    assert bench.seconds == pytest.approx(1.75 + PROBE_SECONDS + AGAIN_SECONDS)
    await bench.claim.contest(target(OTHER))
    assert bench.told == [NameKept(OTHER.id)] * 2, "it may come back, and go again"


@on_fake_time
async def test_a_namesake_out_of_reach_is_displaced_once_its_node_is_not_refreshed_for_the_time_to_live() -> None:
    bench = await Bench().began()
    await bench.put(OTHER)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(bench.claim.contest(target(OTHER)))
        for seconds in (30.0, 60.0, 90.0):
            await asyncio.sleep(30.0)
            await bench.put(OTHER, after=seconds)
        await asyncio.sleep(T)
        assert bench.told == []
        await asyncio.sleep(40.0)
        assert contest.done()
    assert bench.told == [NameKept(OTHER.id)]


@pytest.mark.parametrize("change", [not_ready, without_agent])
@on_fake_time
async def test_a_namesake_out_of_reach_that_is_not_ready_is_displaced_at_once(change: Callable[[Manifest], None]) -> None:
    bench = await Bench().began()
    await bench.put(OTHER, change=change)
    await bench.claim.contest(target(OTHER))
    assert bench.told == [NameKept(OTHER.id)]
    assert bench.seconds == pytest.approx(PROBE_SECONDS + AGAIN_SECONDS)


@on_fake_time
async def test_who_could_not_ask_concludes_nothing() -> None:
    bench = await Bench().began()
    bench.answers[OTHER.id] = LocalFault("EMFILE", passes=True)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(bench.claim.contest(target(OTHER)))
        await asyncio.sleep(10 * T)
        assert bench.told == []
        contest.cancel()


@on_fake_time
async def test_of_a_namesake_without_an_address_the_store_tells() -> None:
    bench = await Bench().began()
    bench.answers[OTHER.id] = LocalFault("no address to ask")
    await bench.claim.contest(Target("web", (), OTHER.id))
    assert bench.told == [NameKept(OTHER.id)]


@on_fake_time
async def test_one_namesake_is_one_contest_and_their_number_is_bounded() -> None:
    bench = await Bench().began()
    await bench.put(ME)
    others = [replace(OTHER, id=f"{number:032x}") for number in range(1, 100)]
    bench.answers = {each.id: answer(each, store=bench.store.id) for each in others}
    async with asyncio.TaskGroup() as tasks:
        contests = [tasks.create_task(bench.claim.contest(target(each))) for each in [others[0], *others]]
        await asyncio.sleep(0.1)
        assert {asked.id for _, asked in bench.asked} == {each.id for each in others[: len(bench.asked)]}
        assert 1 < len(bench.asked) < 40
        for each in contests:
            each.cancel()
