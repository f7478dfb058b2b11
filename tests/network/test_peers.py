"""The state machine alone, event by event, on a clock that only the test moves."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from k3.core import limits, node, times
from k3.core.decision import Create, Update
from k3.core.node import NodeView
from k3.core.objects import Manifest
from k3.core.observation import Alive, Evidence, Facts, Forgotten, Joined, Left, Observation, Silent, Suspected, Unproven
from k3.network import ranks
from k3.network.events import (
    Action,
    Contested,
    Event,
    LinksChanged,
    NameKept,
    NodeGone,
    NodeShown,
    Probed,
    Reannounce,
    Report,
    SelfProven,
    Stalled,
    StartProbe,
    StoreLost,
    Suspecting,
    Synced,
    TableSettings,
    Tick,
)
from k3.network.messages import (
    Announcement,
    Answered,
    Endpoint,
    Impostor,
    LocalFault,
    NoAnswer,
    Outcome,
    Refused,
    Target,
    Withdrawal,
)
from k3.network.peers import PeerTable
from k3.network.peers.laws import Step, enforce
from k3.network.peers.peer import NEVER
from k3.network.policy import decide
from k3.network.ranks import Timing

T = 6.0
TIMING = Timing.of(T)
LINK = "10.0.0.0/24"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ME = Facts(node="me", addresses=("10.0.0.1",), port=7946, pid=1, id="0" * 32, boot="me.1", links=(LINK,), peer_ttl_seconds=T)
WEB = Facts(node="web", addresses=("10.0.0.2",), port=7946, pid=2, id="1" * 32, boot="web.1", links=(LINK,), peer_ttl_seconds=T)
SILENCE = NoAnswer("timeout")
MILLISECOND = timedelta(milliseconds=1)


def heard(facts: Facts, instance: str = "") -> Announcement:
    name = instance or f"{facts.node}-{facts.id[:8]}"
    return Announcement(
        instance=name, node=facts.node, addresses=facts.addresses, port=facts.port, pid=facts.pid, id=facts.id, boot=facts.boot
    )


class Lan:
    """The machines of a link, by their addresses: whoever is asked answers for itself, and says who it is."""

    def __init__(self, *machines: Facts) -> None:
        self.there = {(address, each.port): each for each in machines for address in each.addresses}

    def __call__(self, target: Target) -> Outcome:
        silent: Outcome = SILENCE
        for number, group in enumerate(target.groups):
            for end in group:
                facts = self.there.get((end.address, end.port))
                if facts is not None and facts.node == target.name and target.id in {"", facts.id}:
                    return Answered(facts=facts, endpoint=end, group=number)
                silent = Impostor(facts.node, facts.id, end) if facts is not None else silent
        return silent


Answers = Mapping[str, Outcome] | Callable[[Target], Outcome]


class Bench:
    """One table, a clock, and a store that writes at once what `decide` says."""

    def __init__(self, *, settings: TableSettings | None = None, online: bool = True) -> None:
        self.now = 1_000.0
        settings = settings or TableSettings(name="me", id=ME.id, peer_ttl_seconds=T)
        self.table = PeerTable(settings, chance=Random(7).random, now=self.now, check=self.check)
        self.steps: set[Step] = set()
        self.nodes: dict[str, Manifest] = {}
        self.log: list[tuple[float, Action]] = []
        self.reports: list[Observation] = []
        self._written = 0
        self.probes: dict[str, Target] = {}
        self.give(LinksChanged((LINK,)))
        if online:
            self.give(Synced(()))

    def check(self, step: Step) -> None:
        enforce(step)
        self.steps.add(step)

    def give(self, event: Event) -> list[Action]:
        actions = self.table.handle(event, self.now)
        for action in actions:
            self.log.append((self.now, action))
            if isinstance(action, Report):
                self.reports.append(action.observation)
            if isinstance(action, StartProbe):
                assert action.key not in self.probes, "one probe of a peer at a time"
                self.probes[action.key] = action.target
        return actions

    def write(self, observation: Observation) -> bool:
        """Do what the reconciler would; whether anything was written."""
        decision = decide(self.nodes.get(observation.name), observation, now=EPOCH + timedelta(seconds=self.now))
        if not isinstance(decision, Create | Update):
            return False
        self.nodes[observation.name] = decision.manifest
        self.give(NodeShown(node.view_manifest(observation.name, decision.manifest)))
        return True

    def run(self, seconds: float, answers: Answers | None = None, *, writing: bool = True) -> None:
        """Let time pass; probes are answered at once (`answers` by name, silence otherwise)."""
        end = self.now + seconds
        while True:
            self.settle({} if answers is None else answers, writing=writing)
            at = max(self.table.deadline, self.now)
            if at > end:
                break
            self.now = at
            self.give(Tick())
        self.now = end

    def settle(self, answers: Answers, *, writing: bool) -> None:
        while self.probes or len(self.reports) > self._written:
            for key in list(self.probes):
                target = self.probes.pop(key)
                self.give(Probed(key, answers(target) if callable(answers) else answers.get(target.name, SILENCE)))
            fresh, self._written = self.reports[self._written :], len(self.reports)
            for observation in fresh if writing else []:
                self.write(observation)

    def said(self, kind: type[Observation]) -> list[tuple[float, Observation]]:
        return [(at, a.observation) for at, a in self.log if isinstance(a, Report) and isinstance(a.observation, kind)]

    def target(self, name: str) -> Target:
        """The only probe of this name that is under way."""
        [target] = [each for each in self.probes.values() if each.name == name]
        return target

    def asked(self, name: str) -> list[float]:
        return [at for at, action in self.log if isinstance(action, StartProbe) and action.target.name == name]

    def seen(self, name: str) -> NodeView:
        return node.view_manifest(name, self.nodes[name])


def answer(facts: Facts) -> Answered:
    return Answered(facts=facts, endpoint=Endpoint(facts.addresses[0], facts.port), group=0)


def known(facts: Facts = WEB) -> tuple[Bench, dict[str, Outcome]]:
    """A bench with one live peer."""
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.give(heard(facts))
    answers: dict[str, Outcome] = {facts.node: answer(facts)}
    bench.run(0.1, answers)
    assert bench.seen(facts.node).is_ready
    return bench, answers


def test_nothing_is_written_about_a_peer_before_it_has_answered() -> None:
    bench = Bench()
    bench.give(heard(WEB))
    assert bench.target("web") == Target("web", ((Endpoint("10.0.0.2", 7946),),))
    assert not bench.reports
    bench.run(0, {"web": answer(WEB)})
    assert [type(each) for each in bench.reports] == [Alive]


def test_a_live_peer_is_asked_every_period_and_written_every_third_of_its_ttl() -> None:
    bench, answers = known()
    before = len(bench.said(Alive))
    start = bench.now
    bench.run(60, answers)
    assert len([at for at in bench.asked("web") if at > start]) == pytest.approx(60 / TIMING.period, abs=1)
    assert len(bench.said(Alive)) - before == pytest.approx(60 / TIMING.write, abs=1)


@pytest.mark.parametrize("phase", [10, 11, 12.5])
def test_silence_becomes_a_suspicion_and_then_a_verdict_exactly_at_the_ttl(phase: float) -> None:
    bench, answers = known()
    bench.run(phase, answers)
    last = bench.asked("web")[-1]
    bench.run(T + 1)
    [(suspected, observation)] = bench.said(Suspected)
    assert isinstance(observation, Suspected)
    assert suspected == pytest.approx(last + TIMING.period + TIMING.retry)
    assert times.parse_timestamp(bench.seen("web").last_seen) == pytest.approx(EPOCH + timedelta(seconds=last), abs=MILLISECOND)
    [(judged, verdict)] = bench.said(Silent)
    assert isinstance(verdict, Silent)
    assert verdict.standing
    assert last + T <= judged <= last + T + TIMING.period


def test_who_cannot_even_ask_suspects_nobody_and_says_unknown_at_the_ttl() -> None:
    bench, answers = known()
    bench.run(5, answers)
    last = bench.asked("web")[-1]
    bench.run(3 * T, {"web": LocalFault("no route")})
    assert not bench.said(Suspected)
    [(judged, verdict)] = bench.said(Silent)
    assert isinstance(verdict, Silent)
    assert not verdict.standing
    assert last + T <= judged <= last + T + TIMING.period
    assert bench.seen("web").ready.reason == "ObserverLost"  # type: ignore[union-attr]


def test_a_goodbye_is_believed_after_two_refusals_only() -> None:
    bench, answers = known()
    bench.run(5, answers)
    bench.give(Withdrawal(heard(WEB).instance))
    at = bench.now
    bench.run(1, answers)
    assert not bench.said(Left)
    bench.give(heard(WEB))
    bench.give(Withdrawal(heard(WEB).instance))
    at = bench.now
    bench.run(1, {"web": Refused()})
    [(left, _)] = bench.said(Left)
    assert left - at <= 0.5
    assert bench.seen("web").ready is not None
    assert bench.seen("web").ready.reason == "PeerLeft"  # type: ignore[union-attr]


def test_a_restart_with_a_silent_peer_judges_it_a_ttl_later_with_standing_if_it_was_the_last_to_see_it() -> None:
    first, _ = known()
    seen = first.seen("web")
    for seen_by, standing in (("me", True), ("somebody", False)):
        bench = Bench(online=False)
        bench.nodes = dict(first.nodes)
        start = bench.now
        bench.give(Synced((replace(seen, seen_by=seen_by),)))
        bench.run(T + 1, writing=False)
        (judged, verdict), *_ = bench.said(Silent)
        assert isinstance(verdict, Silent)
        assert verdict.standing is standing
        assert T <= judged - start <= T + TIMING.period


def test_while_the_store_is_away_nothing_is_said_and_ages_start_again() -> None:
    bench, answers = known()
    bench.run(4, answers)
    bench.give(StoreLost())
    count = len(bench.reports)
    bench.run(5 * T)
    assert len(bench.reports) == count
    assert len(bench.asked("web")) > 5  # it goes on probing in memory
    back = bench.now
    bench.give(Synced(tuple(bench.seen(name) for name in bench.nodes)))
    bench.run(T + 1)
    assert bench.said(Silent)[0][0] - back >= T - 1e-6


def test_a_stall_of_our_own_is_not_held_against_others() -> None:
    bench, answers = known()
    bench.run(4, answers)
    bench.now += 3 * T
    actions = bench.give(Stalled(3 * T))
    assert any(isinstance(action, Reannounce) for action in actions)
    stalled = bench.now
    bench.run(2 * TIMING.period - 0.01)
    assert not bench.said(Suspected)
    bench.run(T + 1)
    assert bench.said(Silent)[0][0] - stalled >= T - 1e-6


def test_without_links_it_suspects_nobody_and_says_only_unknown() -> None:
    bench, answers = known()
    bench.run(4, answers)
    bench.give(LinksChanged(()))
    bench.run(2 * T)
    assert not bench.said(Suspected)
    assert all(isinstance(o, Silent) and not o.standing for _, o in bench.said(Silent))
    assert bench.seen("web").ready.status == "Unknown"  # type: ignore[union-attr]


def test_of_several_peers_none_answers_so_it_doubts_itself() -> None:
    bench, answers = known()
    db = replace(WEB, node="db", id="2" * 32, addresses=("10.0.0.3",))
    bench.give(heard(db))
    answers["db"] = answer(db)
    bench.run(5, answers)
    bench.run(2 * T)
    assert {bench.seen(name).ready.reason for name in ("web", "db")} == {"ObserverLost"}  # type: ignore[union-attr]
    bench, answers = known()
    bench.give(heard(db))
    answers["db"] = answer(db)
    bench.run(5, answers)
    bench.run(2 * T, {"web": Refused()})  # a refusal is an answer: the network works
    assert {bench.seen(name).ready.reason for name in ("web", "db")} == {"PeerUnreachable"}  # type: ignore[union-attr]


def test_the_old_place_is_asked_before_a_new_one_and_moves_only_when_it_fails() -> None:
    bench, answers = known()
    bench.run(3, answers)
    forged = replace(heard(WEB), addresses=("10.0.0.66",), port=6666)
    bench.give(forged)
    bench.run(1, answers)
    targets = [action.target for _, action in bench.log if isinstance(action, StartProbe)]
    assert targets[-1].groups == ((Endpoint("10.0.0.2", 7946),), (Endpoint("10.0.0.66", 6666),))
    assert bench.seen("web").addresses == ("10.0.0.2",)


def test_another_id_gets_the_name_only_when_its_holder_is_dead() -> None:
    bench, answers = known()
    other = replace(WEB, id="9" * 32, addresses=("10.0.0.9",), boot="web.9")
    bench.give(heard(other))
    bench.run(3 * T, answers)
    assert bench.seen("web").id == WEB.id

    bench.run(T + 1, Lan(other))
    assert bench.seen("web").id == other.id
    assert bench.seen("web").is_ready


def test_a_reinstalled_machine_at_the_same_place_takes_its_name_over() -> None:
    bench, answers = known()
    bench.run(3, answers)
    fresh = replace(WEB, id="9" * 32, boot="web.9")
    bench.give(heard(fresh))

    bench.run(2, Lan(fresh))
    assert bench.seen("web").id == fresh.id
    assert not bench.said(Silent)


def test_announced_but_never_answering_is_shown_once_and_dropped_when_gone() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.give(heard(WEB))
    at = bench.now
    bench.run(2 * T)
    [(shown, observation)] = bench.said(Unproven)
    assert isinstance(observation, Unproven)
    assert observation.message == "announced, but 10.0.0.2:7946 never answered: firewall?"
    assert shown == pytest.approx(at + TIMING.retry)
    bench.give(Withdrawal(heard(WEB).instance))
    gone = bench.now
    bench.run(T - 0.1)
    assert not bench.said(Forgotten)
    bench.run(0.5)
    assert bench.said(Forgotten)[0][0] == pytest.approx(gone + T)


def fake(number: int) -> Facts:
    return Facts(
        node=f"fake{number}", addresses=(f"10.0.0.{3 + number % 250}",), port=1 + number, id=f"{number:032x}", boot="x"
    )


def test_a_flood_of_names_is_bounded_and_a_newcomer_is_still_found() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    for number in range(10_000):
        bench.give(heard(fake(number)))
        if number % 100 == 0:
            assert len(bench.probes) <= 2 * 16
            bench.run(0.05)
    assert len(bench.table.peers) <= limits.CANDIDATES + limits.UNPROVEN_NODES
    bench.run(2)
    assert len(bench.said(Unproven)) <= limits.UNPROVEN_NODES
    bench.give(heard(WEB))
    joined = bench.now
    bench.run(1, {"web": answer(WEB)})
    assert bench.seen("web").is_ready
    assert next(at for at, o in bench.said(Alive) if o.name == "web") - joined < 0.5


def test_never_proven_nodes_are_limited_whoever_counts() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    for number in range(200):
        bench.give(heard(fake(number)))
    bench.run(5 * T)
    assert sum(bench.seen(name).is_unproven for name in bench.nodes) == limits.UNPROVEN_NODES


def test_an_impostor_gets_no_node_and_few_questions() -> None:
    bench = Bench()
    bench.give(heard(WEB))
    bench.run(60, {"web": Impostor("other", "3" * 32)})
    assert not bench.reports
    assert len(bench.asked("web")) <= 60 / T + 2


def test_a_foreign_node_is_neither_asked_nor_written() -> None:
    bench = Bench()
    bench.give(NodeShown(replace(node.view_manifest("web", {}), name="web")))
    bench.give(heard(WEB))
    bench.run(60)
    assert not bench.log or all(not isinstance(action, StartProbe | Report) for _, action in bench.log)


def test_our_own_node_is_written_on_joining_on_change_and_when_nobody_else_looks() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.run(0)
    assert bench.said(Joined)[0][1] == Joined(name="me", facts=ME, fresh=True)
    bench.run(10 * TIMING.write)
    assert len(bench.said(Joined)) == pytest.approx(11, abs=1)
    moved = replace(ME, addresses=("10.0.0.100",))
    bench.give(SelfProven(moved))
    bench.run(0)
    assert bench.said(Joined)[-1][1] == Joined(name="me", facts=moved, fresh=False)
    assert bench.seen("me").addresses == ("10.0.0.100",)


def test_what_others_concluded_about_us_is_not_ours_to_take_back() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.run(1)
    verdict = Silent("me", bench.seen("me").evidence, standing=True, message="…")
    assert bench.write(verdict)
    bench.run(5 * T)
    assert not bench.seen("me").is_ready
    again = [at for at, action in bench.log if isinstance(action, Reannounce)]
    assert len(again) >= 2
    assert min(b - a for a, b in pairwise(again)) >= TIMING.period - 1e-6


def test_a_deleted_own_node_returns_a_little_later() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.run(1)
    count = len(bench.said(Joined))
    del bench.nodes["me"]
    bench.give(NodeGone("me"))
    gone = bench.now
    bench.run(3)
    assert bench.said(Joined)[count][0] == pytest.approx(gone + TIMING.period)


def test_a_deleted_peer_that_lives_returns_at_its_next_probe() -> None:
    bench, answers = known()
    bench.run(3, answers)
    del bench.nodes["web"]
    bench.give(NodeGone("web"))
    gone = bench.now
    bench.run(2 * TIMING.period, answers)
    assert bench.seen("web").is_ready
    assert bench.said(Alive)[-1][0] - gone <= TIMING.period + 1e-6


def test_our_name_on_another_machine_is_contested_and_may_be_kept() -> None:
    bench = Bench()
    twin = replace(ME, id="7" * 32, addresses=("10.0.0.7",))
    assert bench.give(heard(twin)) == [Contested(Target("me", ((Endpoint("10.0.0.7", 7946),),), twin.id))]
    bench.nodes["me"] = _manifest(twin)
    actions = bench.give(NodeShown(bench.seen("me")))
    assert any(isinstance(action, Contested) for action in actions)
    bench.give(SelfProven(ME))
    bench.run(5)
    assert not bench.said(Joined)
    bench.give(NameKept(twin.id))
    bench.run(0)
    assert bench.seen("me").id == ME.id


def _manifest(facts: Facts) -> Manifest:
    made = decide(None, Alive(name=facts.node, facts=facts, seen_by="x", evidence=Evidence()), now=EPOCH)
    assert isinstance(made, Create)
    return made.manifest


def test_forget_after_removes_what_has_been_down_for_so_long() -> None:
    bench = Bench(settings=TableSettings(name="me", id=ME.id, peer_ttl_seconds=T, forget_after_seconds=30))
    bench.give(heard(WEB))
    bench.run(1, {"web": answer(WEB)})
    bench.run(T + 29)
    assert not bench.said(Forgotten)
    bench.run(4)
    assert bench.said(Forgotten)


def test_an_empty_table_wants_nothing() -> None:
    table = PeerTable(
        TableSettings(name="me", id=ME.id, peer_ttl_seconds=T, register_self=False), chance=Random(1).random, now=0.0
    )
    assert table.handle(Synced(()), 0.0) == []
    assert table.deadline == NEVER


def test_an_answer_that_came_before_the_stores_list_is_asked_for_again() -> None:
    bench = Bench(online=False)
    bench.give(SelfProven(ME))
    bench.give(heard(WEB))
    bench.run(0, {"web": answer(WEB)})
    assert not bench.reports
    bench.give(Synced(()))
    synced = bench.now
    bench.run(1, {"web": answer(WEB)})
    assert bench.seen("web").is_ready
    assert bench.said(Alive)[0][0] - synced <= 0.5 + 1e-6


def test_a_restart_invents_no_sign_of_life() -> None:
    first, answers = known()
    first.run(5, answers)
    stored = first.seen("web")
    bench = Bench(online=False)
    bench.now = first.now + 3600
    bench.nodes = {"web": first.nodes["web"]}
    bench.give(Synced((replace(stored, seen_by="me"),)))
    bench.nodes["web"]["metadata"]["annotations"]["k3.network/seen-by"] = "me"
    bench.run(2 * T)
    assert bench.said(Suspected)
    assert bench.seen("web").last_seen == stored.last_seen
    assert not bench.seen("web").is_ready


def test_a_machine_that_registered_itself_is_looked_at_from_outside_at_once() -> None:
    bench = Bench()
    made = decide(None, Joined(name="web", facts=WEB, fresh=True), now=EPOCH)
    assert isinstance(made, Create)
    bench.nodes["web"] = made.manifest
    shown = bench.now
    bench.give(NodeShown(bench.seen("web")))
    bench.run(0.5, {"web": answer(WEB)})
    assert bench.asked("web")[0] - shown <= TIMING.period / 8


# Places, and whose fault it is


def living(facts: Facts = WEB, *, links: tuple[str, ...] = (LINK,)) -> tuple[Bench, Manifest]:
    """A bench on a store that shows a machine whose own agent wrote its Node, and which has never answered here."""
    bench = Bench()
    bench.give(SelfProven(ME))
    made = decide(None, Joined(name=facts.node, facts=replace(facts, links=links), fresh=True), now=EPOCH)
    assert isinstance(made, Create)
    bench.nodes[facts.node] = made.manifest
    bench.give(NodeShown(bench.seen(facts.node)))
    return bench, made.manifest


def writes_itself(bench: Bench, facts: Facts = WEB) -> None:
    assert bench.write(Joined(name=facts.node, facts=facts, fresh=False))


def test_who_never_reached_a_machine_has_no_say_over_it_while_its_own_agent_writes() -> None:
    bench, _ = living()
    for _ in range(40):
        bench.run(T / 2)
        writes_itself(bench)
    assert not bench.said(Suspected)
    assert not bench.said(Silent)
    # It goes on trying, ever more rarely.
    asked = bench.asked("web")
    assert len(asked) > 2
    assert asked[-1] - asked[-2] >= T
    at = bench.now
    bench.run(T + TIMING.write + 1)
    [(judged, verdict)] = bench.said(Silent)
    assert isinstance(verdict, Silent)
    assert not verdict.standing
    assert verdict.message == "no sign of life for 6s, and nobody in a position to ask"
    assert T + TIMING.write <= judged - at <= T + TIMING.write + T / 20
    assert bench.seen("web").ready.status == "Unknown"  # type: ignore[union-attr]
    assert bench.seen("web").reachable.status == "Unknown"  # type: ignore[union-attr]


def test_who_has_never_been_reached_is_reached_later_and_then_looked_after() -> None:
    bench, _ = living()
    for _ in range(4):
        bench.run(T / 2)
        writes_itself(bench)
    bench.run(2 * T, {"web": answer(WEB)})
    assert bench.seen("web").seen_by == "me"
    last = bench.asked("web")[-1]
    bench.run(T + 1)
    [(suspected, _)] = bench.said(Suspected)
    assert suspected - last <= TIMING.period + TIMING.retry + 1e-6
    assert isinstance(verdict := bench.said(Silent)[0][1], Silent)
    assert verdict.standing


def test_who_hears_a_machine_on_its_link_and_cannot_reach_it_says_so() -> None:
    bench, _ = living()
    bench.give(heard(WEB))
    bench.run(T + 1)
    assert bench.said(Suspected)
    assert isinstance(verdict := bench.said(Silent)[0][1], Silent)
    assert verdict.message == "no sign of life for 6s, and 10.0.0.2:7946 never answered me: firewall?"
    assert not verdict.standing


def test_a_namesake_at_our_own_place_does_not_displace_who_lives_elsewhere() -> None:
    bench, _ = living()
    namesake = replace(WEB, id="9" * 32, boot="web.9")
    bench.give(heard(namesake))
    for _ in range(6):
        bench.run(T / 2, {"web": Impostor("web", namesake.id)})
        writes_itself(bench)
    assert bench.seen("web").id == WEB.id
    assert not bench.said(Silent)


def test_our_own_endpoint_is_nobody_elses() -> None:
    """As 10.0.2.15 is on every virtual machine; another agent of this host has another port."""
    nat = "192.168.56.1"
    bench = Bench()
    bench.give(LinksChanged((LINK, "192.168.56.0/24")))
    bench.give(SelfProven(replace(ME, addresses=(*ME.addresses, nat))))
    bench.give(heard(replace(WEB, addresses=(nat, *WEB.addresses))))
    assert bench.target("web").groups == ((Endpoint("10.0.0.2", 7946),),)
    bench.give(heard(replace(WEB, node="second", id="3" * 32, addresses=(nat,), port=8946)))
    assert bench.target("second").groups == ((Endpoint(nat, 8946),),)


def test_a_lost_link_is_our_fault_although_another_is_up() -> None:
    """What is announced off our links is not asked: who answered on the lost one is not blamed for silence on another."""
    host_only = "192.168.56.0/24"
    both = replace(WEB, addresses=("10.0.0.2", "192.168.56.7"), links=(LINK, host_only))
    bench = Bench()
    bench.give(LinksChanged((LINK, host_only)))
    bench.give(SelfProven(ME))
    bench.give(heard(both))
    bench.run(5, {"web": answer(both)})
    last = bench.asked("web")[-1]
    bench.give(LinksChanged((host_only,)))
    bench.run(T + 1)
    targets = [action.target for at, action in bench.log if isinstance(action, StartProbe) and at > last]
    assert {end.address for target in targets for group in target.groups for end in group} == {"192.168.56.7"}
    assert not bench.said(Suspected)
    [(judged, verdict)] = bench.said(Silent)
    assert isinstance(verdict, Silent)
    assert not verdict.standing
    assert verdict.message == "no sign of life for 6s, and me has lost its own link to it"
    assert last + T <= judged <= last + T + T / 20 + 1e-6
    bench.give(LinksChanged((LINK, host_only)))
    back = bench.now
    bench.run(2, {"web": answer(both)})
    assert min(at for at in bench.asked("web") if at >= back) - back <= TIMING.period
    assert bench.seen("web").is_ready


def test_doubt_is_about_one_link() -> None:
    """Two peers of one link fall silent while a third one, on another, answers: it may be our own port that is dead."""
    other = "10.1.0.0/24"
    bench, answers = known()
    bench.give(LinksChanged((LINK, other)))
    db = replace(WEB, node="db", id="2" * 32, addresses=("10.0.0.3",))
    far = replace(WEB, node="far", id="3" * 32, addresses=("10.1.0.4",), links=(other,))
    for facts in (db, far):
        bench.give(heard(facts))
        answers[facts.node] = answer(facts)
    bench.run(5, answers)
    bench.run(2 * T, {"far": answer(far)})
    assert {bench.seen(name).ready.reason for name in ("web", "db")} == {"ObserverLost"}  # type: ignore[union-attr]
    assert bench.seen("far").is_ready


def test_a_suspicion_is_said_once() -> None:
    bench, answers = known()
    bench.run(3, answers)
    bench.run(T + 1, writing=False)
    said = [action for _, action in bench.log if isinstance(action, Suspecting)]
    assert said == [Suspecting("web", "10.0.0.2:7946")]


def test_who_was_refuted_has_no_say_until_it_is_answered_again() -> None:
    bench, answers = known()
    bench.run(3, answers)
    bench.run(2 * TIMING.period + TIMING.retry + 0.1)
    assert len(bench.said(Suspected)) == 1
    for _ in range(20):
        bench.write(Alive(name="web", facts=WEB, seen_by="other", evidence=bench.seen("web").evidence))
        bench.run(TIMING.write)
    assert len(bench.said(Suspected)) == 1
    bench.run(12 * TIMING.period, answers)
    bench.run(3 * TIMING.period + TIMING.retry)
    assert len(bench.said(Suspected)) == 2


def test_an_unknown_that_rests_on_no_failure_is_ours_to_take_back() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.run(1)
    assert bench.write(Silent("me", bench.seen("me").evidence, standing=False, message="nobody could ask"))
    assert bench.seen("me").ready.status == "Unknown"  # type: ignore[union-attr]
    bench.run(1)
    assert bench.seen("me").is_ready
    assert bench.write(
        Suspected(name="me", evidence=bench.seen("me").evidence, silent_seconds=None, message="…", seen_by="other")
    )
    assert bench.write(Silent("me", bench.seen("me").evidence, standing=False, message="firewall?"))
    bench.run(3 * T)
    assert bench.seen("me").ready.status == "Unknown", "somebody asked, and was not answered"  # type: ignore[union-attr]


def test_our_own_refresh_gives_way_to_who_may_really_reach_us_only() -> None:
    bench, _ = living()
    bench.run(1)
    for _ in range(8):
        bench.run(T / 4)
        writes_itself(bench)
    before, start = len(bench.said(Joined)), bench.now
    for _ in range(24):
        bench.run(T / 4)
        writes_itself(bench)
    refreshes = len(bench.said(Joined)) - before
    assert refreshes == pytest.approx((bench.now - start) / TIMING.write, abs=1), "as if it were alone"


def test_our_own_former_name_is_explained_and_goes_to_who_claims_it() -> None:
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.run(1)
    made = decide(None, Joined(name="old", facts=replace(ME, node="old", boot="old.1"), fresh=True), now=EPOCH)
    assert isinstance(made, Create)
    bench.nodes["old"] = made.manifest
    bench.give(NodeShown(bench.seen("old")))
    bench.run(T + 1, {"old": Impostor("me", ME.id)})
    shown = "renamed: the machine goes by the name of me now; to remove this Node: k3 delete node old"
    assert bench.seen("old").ready.message == shown  # type: ignore[union-attr]
    assert bench.seen("old").ready.status == "False"  # type: ignore[union-attr]
    heir = replace(WEB, node="old")
    bench.give(heard(heir))

    bench.run(3, Lan(heir, ME))
    assert bench.seen("old").id == heir.id


def test_who_has_the_same_endpoint_is_on_another_link_with_the_same_prefix() -> None:
    nat = "192.168.56.0/24"
    one = node.view_manifest("web", _manifest(replace(WEB, addresses=("192.168.56.1",), links=(nat,))))
    same = replace(one, name="db", id="2" * 32)
    for other, shares in ((same, False), (replace(same, port=8946), True), (replace(same, addresses=("192.168.56.2",)), True)):
        assert ranks.member(other).shares_link(ranks.member(one)) is shares
    both = [replace(each, links=(nat, LINK)) for each in (one, same)]
    assert ranks.member(both[0]).shares_link(ranks.member(both[1])), "they may share the other one"
