"""What counts as a clone, and which of two changes. What follows from it on real hosts is in tests/system/test_clones.py."""

from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from k3.core import node
from k3.core.decision import Create, Keep, Update
from k3.core.node import NodeView
from k3.core.observation import Alive, Evidence, Explained, Facts, Joined
from k3.network import policy
from k3.network.clones import Clones
from k3.network.messages import Announcement, Answered, Endpoint, Outcome, Target
from k3.network.probe import Via
from k3.view import node_table
from k3.view.cells import Moment
from tests.fake_time import on_fake_time

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
ID, OTHER = "a" * 32, "c" * 32
NAT = "10.0.2.15"
"""On every machine of one box: tells nobody apart."""

ME = Facts(
    node="web", addresses=(NAT, "10.0.0.1"), port=7946, pid=1, id=ID, boot="1" * 16, links=("10.0.0.0/24",), peer_ttl_seconds=90
)
TWIN = replace(ME, addresses=(NAT, "10.0.0.2"), boot="2" * 16)


class Bench:
    """One agent's knowledge of clones, and what it asked for."""

    def __init__(self, me: Facts = ME) -> None:
        self.told: list[str] = []
        self.parted: list[str] = []
        self.looks = 0
        self.clones = Clones(
            tell=self.told.append, part=self.parted.append, start=self._start, is_sealed=lambda each: bool(each.seal)
        )
        self.clones.say(me)

    def _start(self, look: Coroutine[None, None, None]) -> None:
        self.looks += 1
        look.close()


def announced(facts: Facts, *addresses: str) -> Announcement:
    return Announcement(
        instance="web-aaaaaaaa",
        node=facts.node,
        addresses=addresses or facts.addresses,
        port=7946,
        pid=facts.pid,
        id=facts.id,
        boot=facts.boot,
    )


def answer(facts: Facts, at: str, *, seal: str = "5" * 32, uptime: float = 0.0) -> Answered:
    """What a clone says; without a seal, what a stranger says."""
    return Answered(facts=facts, endpoint=Endpoint(at, 7946), group=0, seal=seal, uptime_seconds=uptime)


def shown(facts: Facts, *, agent: str | None = None, now: datetime = NOW) -> NodeView:
    """The Node that this machine's own agent writes."""
    decision = policy.decide(None, Joined(name=facts.node, facts=facts, fresh=True), now=now)
    assert isinstance(decision, Create)
    seen = node.view_manifest(facts.node, decision.manifest)
    return seen if agent is None else replace(seen, agent=agent)


@pytest.mark.parametrize(
    ("heard", "looks"),
    [
        pytest.param(announced(TWIN), 1, id="a clone"),
        pytest.param(announced(replace(TWIN, node="other")), 1, id="a clone with a name of its own"),
        pytest.param(announced(ME), 0, id="ourselves"),
        pytest.param(announced(replace(ME, boot="9" * 16)), 0, id="our last run, out of somebody's cache"),
        pytest.param(announced(TWIN, NAT), 0, id="at an address of ours only"),
        pytest.param(announced(replace(TWIN, id=OTHER)), 0, id="a namesake"),
    ],
)
def test_who_is_looked_at(heard: Announcement, looks: int) -> None:
    bench = Bench()
    bench.clones.heard(heard)
    assert bench.looks == looks


def test_an_address_that_was_ours_in_this_run_is_no_others() -> None:
    bench = Bench()
    bench.clones.say(replace(ME, addresses=("10.0.0.9",)))
    bench.clones.heard(announced(ME))
    assert bench.looks == 0


@pytest.mark.parametrize(
    ("answered", "looks"),
    [
        pytest.param(answer(TWIN, "10.0.0.2"), 1, id="a clone"),
        pytest.param(answer(replace(TWIN, boot=ME.boot), "10.0.0.2"), 1, id="resumed from a snapshot: the same run"),
        pytest.param(answer(ME, "192.0.2.1"), 0, id="ourselves by a router's loop"),
        pytest.param(answer(replace(ME, boot="3" * 16), "192.0.2.1"), 0, id="another process of ours by a router's loop"),
        pytest.param(answer(replace(TWIN, id=OTHER), "10.0.0.2"), 0, id="somebody else"),
    ],
)
def test_who_is_another_machine(answered: Answered, looks: int) -> None:
    bench = Bench()
    bench.clones.answered(answered)
    assert (bench.looks, bench.told) == (looks, [])


def test_a_stranger_that_calls_itself_a_clone_is_not_told_of() -> None:
    bench = Bench()
    liar = replace(TWIN, node="liar", id=OTHER, clone_of=ID)
    bench.clones.answered(answer(liar, "10.0.0.66", seal=""))
    observed = replace(shown(liar), agent="")  # as an observer writes it, who believed the answer
    bench.clones.shown(observed, None, joined=True, on_link=())
    assert (bench.looks, bench.told) == (0, [])


class Answering(Bench):
    """At every address the same machine answers; what is started is waited for."""

    def __init__(self, *answers: Answered) -> None:
        super().__init__()
        self.asked = 0
        self.answers = answers
        self.works: list[Coroutine[None, None, None]] = []
        self.clones = Clones(
            tell=self.told.append,
            part=self.parted.append,
            start=self.works.append,
            is_sealed=lambda each: bool(each.seal),
            ask=self._ask,
        )
        self.clones.say(ME)

    async def _ask(self, target: Target, *, timeout_seconds: float, via: Via = str) -> Outcome:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]

    async def run(self) -> None:
        while self.works:
            await self.works.pop()


@pytest.mark.parametrize(
    ("answers", "parts"),
    [
        pytest.param([answer(TWIN, "10.0.0.2", uptime=5.0), answer(TWIN, "10.0.0.2", uptime=6.0)], True, id="a clone"),
        pytest.param([answer(TWIN, "10.0.0.2", seal="", uptime=n) for n in (5.0, 6.0)], False, id="a stranger"),
        pytest.param([answer(TWIN, "10.0.0.2", uptime=5.0)], False, id="a clone's answer that was kept"),
    ],
)
@pytest.mark.parametrize("is_running", [True, False], ids=["later", "at-start"])
@on_fake_time
async def test_only_what_has_this_machines_own_secret_is_a_clone(
    answers: list[Answered], parts: bool, is_running: bool
) -> None:
    bench = Answering(*answers)
    if is_running:
        bench.clones.heard(announced(TWIN))
        await bench.run()
    else:
        found = await bench.clones.already_running([announced(TWIN)])
        assert (found is not None) is parts
    assert bench.told == (["10.0.0.2"] if parts else [])
    if is_running:
        assert bench.parted == (["web"] if parts else [])


def test_a_clone_that_is_set_apart_is_told_of_once_on_both_sides() -> None:
    apart = replace(TWIN, node="web-2", id=OTHER, clone_of=ID)
    for me, other, where in ((ME, apart, "10.0.0.2"), (apart, ME, "10.0.0.1")):
        bench = Bench(me)
        for _ in range(2):
            bench.clones.answered(answer(other, where))
            bench.clones.shown(replace(shown(other), name=other.node), None, joined=True, on_link=())
        assert len(set(bench.told)) == len(bench.told) == 1 or bench.told == [where, NAT]
        assert bench.looks == 0


@pytest.mark.parametrize(
    ("seen", "joined", "looks"),
    [
        pytest.param(shown(TWIN), True, 1, id="another run rewrote our Node"),
        pytest.param(replace(shown(TWIN), boot=ME.boot, agent=ME.boot), True, 1, id="a copy of our run did"),
        pytest.param(shown(TWIN), False, 0, id="before we joined it may be our last run, at another address"),
        pytest.param(shown(ME), True, 0, id="ours"),
        pytest.param(
            replace(shown(TWIN), boot=ME.boot, agent=ME.boot, seen_by="hub"), True, 0, id="an observer believed a stranger"
        ),
        pytest.param(shown(TWIN, agent=ME.boot), True, 0, id="an observer was late with our last run"),
        pytest.param(shown(TWIN, agent=""), True, 0, id="no agent of its own writes here"),
    ],
)
def test_what_the_store_tells_of_our_own_node(seen: NodeView, joined: bool, looks: int) -> None:
    bench = Bench()
    bench.clones.shown(seen, None, joined=joined, on_link=())
    assert bench.looks == looks


def test_a_node_under_another_name_counts_when_its_machine_writes_it_while_we_run() -> None:
    bench = Bench()
    former = shown(replace(TWIN, node="old"))
    bench.clones.shown(former, None, joined=True, on_link=())
    assert bench.looks == 0, "it may be what this machine was called before it moved"
    bench.clones.shown(replace(former, last_seen="2026-11-23T08:00:30.000Z"), former, joined=True, on_link=())
    assert bench.looks == 1


@pytest.mark.parametrize("twin", [TWIN, replace(TWIN, boot=ME.boot)], ids=["another-run", "the-same-run"])
def test_exactly_one_of_two_changes(twin: Facts) -> None:
    ours, theirs = Bench(ME).clones, Bench(twin).clones
    assert ours.keeps(twin.boot, twin.addresses) is not theirs.keeps(ME.boot, ME.addresses)


def written(current: Any, seen: Any) -> Update:
    decision = policy.decide(current, seen, now=NOW)
    assert isinstance(decision, Update), decision
    return decision


def test_a_clone_stands_on_the_node_and_in_one_event() -> None:
    made = policy.decide(None, Joined(name="web", facts=ME, fresh=True), now=NOW)
    assert isinstance(made, Create)
    found = Joined(name="web", facts=ME, fresh=False, clone_at="10.0.0.2", advice="do this")
    told = written(made.manifest, found)
    assert told.transition is not None
    assert (told.transition.reason, told.transition.warning) == ("IdentityCloned", True)
    condition = node.condition(told.manifest, "k3.network/Cloned")
    assert condition is not None
    assert condition.status == "True"
    assert condition.message == (
        "another machine has this machine's identity (same machine-id and MAC) at 10.0.0.2: "
        "one is a clone of the other; run on one of them: do this"
    )
    assert node_table.status(told.manifest, Moment(NOW)) == "Ready (a clone)"
    assert written(told.manifest, found).transition is None
    cured = written(told.manifest, replace(found, clone_at="", advice=""))
    assert node.condition(cured.manifest, "k3.network/Cloned") is None
    assert node_table.status(cured.manifest, Moment(NOW)) == "Ready"


def test_who_was_set_apart_says_whose_clone_it_is_until_it_is_not() -> None:
    made = policy.decide(
        None, Alive(name="web", facts=replace(ME, clone_of=OTHER), seen_by="hub", evidence=Evidence()), now=NOW
    )
    assert isinstance(made, Create)
    assert node.view_manifest("web", made.manifest).annotations["k3.network/clone-of"] == OTHER
    cured = written(made.manifest, Joined(name="web", facts=replace(ME, id="f" * 32), fresh=True, displaces=ID))
    assert "k3.network/clone-of" not in node.view_manifest("web", cured.manifest).annotations


def test_an_explanation_changes_the_words_and_nothing_else() -> None:
    made = policy.decide(None, Joined(name="web", facts=ME, fresh=True), now=NOW)
    assert isinstance(made, Create)
    evidence = node.view_manifest("web", made.manifest).evidence
    assert isinstance(policy.decide(made.manifest, Explained("web", evidence, "no"), now=NOW), Keep), "it is Ready"
    node.set_condition(made.manifest, "Ready", status="False", reason="NodeShutdown", message="stopped", now=NOW)
    evidence = node.view_manifest("web", made.manifest).evidence
    told = written(made.manifest, Explained("web", evidence, "10.0.0.1:7946 answers as new now"))
    ready = node.condition(told.manifest, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "NodeShutdown", "10.0.0.1:7946 answers as new now")
    assert told.transition is not None
    assert told.transition.reason == "Replaced"
    again = Explained("web", node.view_manifest("web", told.manifest).evidence, ready.message)
    assert isinstance(policy.decide(told.manifest, again, now=NOW), Keep)
