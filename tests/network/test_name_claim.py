"""Who gets a name: at start, and later when another machine turns out to use it. Exact times, without a network."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
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
from k3.network.messages import READER, Announcement, Answered, Endpoint, LocalFault, NoAnswer, Outcome, Target, Withdrawal
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

    def __init__(self, *, chosen: bool = False, has_joined: bool = False, former: str = "", conflict_with: str = "") -> None:
        self.store = MemoryStore()
        self.faulty = FaultyStore(self.store)
        self.cache: dict[Key, Object] = {}
        self.answers: dict[str, Outcome] = {}
        self.canned = False
        """Every answer is the same: no uptime runs."""
        self.joined = has_joined
        self.asked: list[tuple[float, Target]] = []
        self.told: list[NameKept] = []
        self.began_at = now()
        self.claim = NameClaim(
            Wanted(
                name="web",
                is_chosen=chosen,
                has_joined=has_joined,
                peer_ttl_seconds=T,
                former=former,
                conflict_with=conflict_with,
            ),
            self.faulty,
            shown=self.cache.get,
            joined=lambda: self.joined,
            tell=self.told.append,
            ask=self._ask,
        )

    async def _ask(self, target: Target, *, timeout_seconds: float, via: Via = str) -> Outcome:
        self.asked.append((now() - self.began_at, target))
        if target.id not in self.answers:
            await asyncio.sleep(timeout_seconds)
            return NoAnswer("no answer in time")
        outcome = self.answers[target.id]
        if isinstance(outcome, Answered) and not self.canned:
            return replace(outcome, uptime_seconds=outcome.uptime_seconds + now() - self.began_at)
        return outcome

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
        """The claim is settled, nobody else had the name then, and the machine has been on its list."""
        assert await self.settle() == Settled("web")
        self.asked.clear()
        self.joined = True
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


@on_fake_time
async def test_a_chosen_name_whose_holder_writes_this_store_and_answers_is_refused() -> None:
    bench = Bench(chosen=True)
    bench.answers[OTHER.id] = answer(OTHER)
    await bench.put(OTHER)
    for _ in range(2):
        with pytest.raises(NameTaken) as caught:
            await bench.settle()
        assert caught.value.exit_code == 5
        assert str(caught.value) == f"{HELD} at 10.0.0.2 port 7946; choose another --node-name, or stop that one first"
    assert [asked for _, asked in bench.asked] == [replace(target(OTHER), asker=READER)] * 2


@pytest.mark.parametrize("is_recorded", [True, False], ids=["observed", "announced"])
@on_fake_time
async def test_a_chosen_name_that_another_machine_only_claims_is_refused_once(
    is_recorded: bool, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be a machine with a store of its own, or a liar: nothing can tell, and a liar must not stop it for ever."""
    state_dir = tmp_path_factory.mktemp("state")
    for start in range(3):
        bench = Bench(chosen=True)
        bench.claim.refused.learn(state_dir)
        bench.answers[OTHER.id] = answer(OTHER, uptime=999_999_000.0)
        if is_recorded:
            await bench.put(OTHER, change=without_agent)
        if start == 0:
            with pytest.raises(NameTaken) as caught:
                await bench.settle(*([] if is_recorded else [announced(OTHER)]))
            assert str(caught.value) == (
                f"{HELD} at 10.0.0.2 port 7946; choose another --node-name, or stop that one first; "
                "or start k3 again, to use the name beside it"
            )
            assert bench.times == [0.0, 1.0]
        else:
            settled = await bench.settle(*([] if is_recorded else [announced(OTHER)]))
            assert settled == Settled("web", displaces=OTHER.id if is_recorded else "")
    assert events(caplog) == ["name.contested"] * 2, "and said at each start"


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "host-name"])
@on_fake_time
async def test_a_canned_answer_claims_nothing(chosen: bool) -> None:
    bench = Bench(chosen=chosen)
    bench.canned = True
    bench.answers[OTHER.id] = answer(OTHER, uptime=999_999_999.0)
    assert await bench.settle(announced(OTHER)) == Settled("web")


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "host-name"])
@on_fake_time
async def test_whoevers_id_is_in_the_node_asks_nobody(chosen: bool) -> None:
    """It ran under this name before: no announcement and no answer counts against its own store."""
    bench = Bench(chosen=chosen)
    bench.answers[OTHER.id] = answer(OTHER, uptime=999_999_000.0)
    await bench.put(ME)
    assert await bench.settle(announced(OTHER)) == Settled("web")
    assert bench.asked == []


@on_fake_time
async def test_an_agent_that_has_been_on_its_list_does_not_end_when_it_starts_again_under_another_name() -> None:
    bench = Bench(chosen=True, has_joined=True)
    bench.answers[OTHER.id] = answer(OTHER)
    assert (await bench.settle(announced(OTHER))).name == "web"
    await bench.put(OTHER)
    assert (await bench.settle(announced(OTHER))).name == SECOND


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
async def test_who_starts_asks_as_one_that_has_announced_nothing() -> None:
    """Else the holder takes it for an agent whose announcements a firewall keeps out."""
    bench = Bench()
    await bench.put(OTHER)
    third = replace(OTHER, addresses=("10.0.0.3",), id="c" * 32)
    await bench.settle(announced(third))
    assert {target.id for _, target in bench.asked} == {OTHER.id, third.id}
    assert {target.asker for _, target in bench.asked} == {READER}


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
    assert bench.seconds == PROBE_SECONDS, "all at once"


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
    bench = Bench(chosen=True)
    assert await bench.claim.look_up(ME.id, lambda _: True) is None
    await bench.put(ME)
    stored = await bench.claim.look_up(ME.id, lambda _: True)
    assert stored is not None
    assert stored.id == ME.id
    assert await bench.claim.settle([], ME.id) == Settled("web")
    assert bench.asked == []


@on_fake_time
async def test_a_node_of_another_controller_is_no_holder() -> None:
    bench = Bench(chosen=True)
    await bench.put(OTHER, change=lambda written: written["metadata"].pop("labels"))
    assert await bench.settle() == Settled("web")
    assert bench.asked == []


@on_fake_time
async def test_a_store_that_does_not_answer_holds_no_name() -> None:
    bench = Bench(chosen=True)
    await bench.put(OTHER)
    bench.faulty.down = True
    assert await bench.settle() == Settled("web")


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "host-name"])
@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(OTHER, id="refreshed"),
        pytest.param(replace(OTHER, boot="3" * 16), id="another-run"),
    ],
)
@on_fake_time
async def test_a_silent_holder_whose_node_is_refreshed_keeps_the_name(
    sign: Facts, chosen: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(chosen=chosen)
    await bench.put(OTHER)
    patience = naming.patience_seconds(bench.view, T)
    async with asyncio.TaskGroup() as tasks:
        settling = tasks.create_task(caught(bench.settle()))
        await asyncio.sleep(patience)
        assert not settling.done()
        await bench.put(sign, after=30.0 if sign is OTHER else 0.0)
    if chosen:
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
    bench = Bench(chosen=True)
    await bench.put(OTHER)
    assert await bench.settle() == Settled("web", displaces=OTHER.id)
    assert bench.seconds == pytest.approx(PROBE_SECONDS + naming.patience_seconds(bench.view, T))


@pytest.mark.parametrize("change", [not_ready, suspected, without_agent])
@on_fake_time
async def test_a_holder_that_the_store_does_not_show_as_alive_is_displaced_at_once(change: Callable[[Manifest], None]) -> None:
    bench = Bench(chosen=True)
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
    bench = Bench(chosen=True)
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
    bench = Bench(chosen=True)
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
    bench = Bench(chosen=True, former=OTHER.id)
    await bench.put(OTHER)
    assert await bench.settle() == Settled("web", displaces=OTHER.id)
    assert bench.asked == []


@on_fake_time
async def test_an_identity_that_was_left_to_a_clone_just_now_is_displaced_too() -> None:
    bench = Bench(chosen=True)
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


# --- later: the Node decides, and nothing else


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "host-name"])
@pytest.mark.parametrize("has_node", [True, False], ids=["its-node", "no-node-yet"])
@on_fake_time
async def test_no_answer_moves_an_agent_whose_store_does_not_say_so(
    chosen: bool, has_node: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the other one says of its uptime and its store."""
    bench = await Bench(chosen=chosen).began()
    bench.joined = has_node
    if has_node:
        await bench.put(ME)
    for uptime in (0.0, 1e5, 999_999_000.0):
        for store in ("", "another", bench.store.id):
            bench.answers[OTHER.id] = answer(OTHER, uptime=uptime, store=store)
            await bench.claim.contest(target(OTHER))
    assert bench.told == []
    assert events(caplog) == ["name.contested"], "said once"
    said = {"node": "web", "other": "at 10.0.0.2 port 7946", "advice": naming.ADVICE}
    assert caplog.records[0].fields == said  # type: ignore[attr-defined]


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "host-name"])
@on_fake_time
async def test_whoevers_id_is_not_in_the_node_goes_on_under_its_second_name(chosen: bool) -> None:
    bench = await Bench(chosen=chosen).began()
    await bench.put(OTHER)
    bench.answers[OTHER.id] = answer(OTHER)
    await asyncio.sleep(1e4)
    with pytest.raises(NameLost) as lost:
        await bench.claim.contest(target(OTHER))
    assert (lost.value.second, lost.value.held_at, lost.value.former) == (SECOND, "at 10.0.0.2 port 7946", "")


@on_fake_time
async def test_who_was_told_its_name_and_never_had_it_ends() -> None:
    """Two began at the same instant on one store: the other one's compare-and-swap came first."""
    bench = await Bench(chosen=True).began()
    bench.joined = False
    await bench.put(OTHER)
    bench.answers[OTHER.id] = answer(OTHER)
    with pytest.raises(NameTaken, match=r"at 10\.0\.0\.2 port 7946; choose another --node-name, or stop that one first$"):
        await bench.claim.contest(target(OTHER))


@pytest.mark.parametrize("answers", [True, False], ids=["it-answers", "it-is-silent"])
@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "host-name"])
@on_fake_time
async def test_a_node_that_an_observer_gave_to_another_machine_is_taken_back(chosen: bool, answers: bool) -> None:
    """That one's agent never wrote it: an observer did that could not reach this machine, and believed who answered."""
    bench = await Bench(chosen=chosen).began()
    await bench.put(OTHER, change=without_agent)
    if answers:
        bench.answers[OTHER.id] = answer(OTHER, uptime=999_999_000.0, store=bench.store.id)
    await bench.claim.contest(target(OTHER))
    assert bench.told == [NameKept(OTHER.id)]


@on_fake_time
async def test_a_node_without_an_id_is_nobody_elses() -> None:
    bench = await Bench().began()
    await bench.put(ME, change=lambda written: written["metadata"]["annotations"].pop("k3.network/id"))
    bench.answers[OTHER.id] = answer(OTHER, uptime=1e5)
    await bench.claim.contest(target(OTHER))
    assert bench.told == []


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


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "host-name"])
@on_fake_time
async def test_who_holds_the_node_and_is_out_of_reach_keeps_it_while_it_is_refreshed(chosen: bool) -> None:
    bench = await Bench(chosen=chosen).began()
    await bench.put(OTHER)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(caught_lost(bench.claim.contest(target(OTHER))))
        await asyncio.sleep(30.0)
        assert not contest.done()
        await bench.put(OTHER, after=30.0)
    assert contest.result() == (SECOND, "on another network")
    assert bench.told == []


async def caught_lost(work: Awaitable[None]) -> tuple[str, str]:
    try:
        await work
    except NameLost as lost:
        return lost.second, lost.held_at
    return "", ""


@on_fake_time
async def test_who_holds_the_node_and_is_gone_is_displaced_once_its_time_to_live_is_over() -> None:
    bench = await Bench().began()
    await bench.put(OTHER)
    async with asyncio.TaskGroup() as tasks:
        contest = tasks.create_task(bench.claim.contest(target(OTHER)))
        await asyncio.sleep(T - 1)
        assert bench.told == []
        await asyncio.sleep(20.0)
        assert contest.done()
        assert bench.told == [NameKept(OTHER.id)]
    await bench.claim.contest(target(OTHER))
    assert bench.told == [NameKept(OTHER.id)] * 2, "it may come back, and go again"


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
    await bench.put(OTHER)
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
    assert bench.told == [], "there is no Node of it"
    await bench.put(OTHER, change=not_ready)
    await bench.claim.contest(Target("web", (), OTHER.id))
    assert bench.told == [NameKept(OTHER.id)]


@on_fake_time
async def test_one_namesake_is_one_contest_and_their_number_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    bench = await Bench().began()
    await bench.put(ME)
    others = [replace(OTHER, id=f"{number:032x}") for number in range(1, 100)]
    async with asyncio.TaskGroup() as tasks:
        for each in [others[0], *others]:
            tasks.create_task(bench.claim.contest(target(each)))
        await asyncio.sleep(0.1)
        assert {asked.id for _, asked in bench.asked} == {each.id for each in others[: len(bench.asked)]}
        assert 1 < len(bench.asked) < 40
    bench.answers = {each.id: answer(each) for each in others}
    for each in others:
        await bench.claim.contest(target(each))
    assert len(events(caplog)) < 40
