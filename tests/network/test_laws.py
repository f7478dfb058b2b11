"""The tables of `k3.network.peers.laws` and the machine hold each other: all that is listed happens, and nothing else does."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import get_args

import pytest

from k3.core import limits
from k3.core.decision import new_node, put_machine
from k3.core.observation import Joined, Left, Observation, Silent, Suspected
from k3.core.ownership import ADOPTION_SECONDS
from k3.core.sources import DISCOVERY
from k3.network.events import (
    Action,
    Event,
    LinksChanged,
    NodeShown,
    Probed,
    Report,
    SelfProven,
    StartProbe,
    Synced,
    TableSettings,
    Tick,
)
from k3.network.messages import Impostor, Refused, Withdrawal
from k3.network.peers import PeerTable, laws
from k3.network.peers.bounds import SILENCE_SECONDS
from k3.network.peers.laws import CONSEQUENCES, REPORTS, Cause, State, Step, Unlawful, enforce
from k3.testing.fleet import Fleet
from tests.network.test_adoption import OURS
from tests.network.test_peers import LINK, ME, WEB, Bench, Lan, T, heard, known

# Scenes with one machine, for what a fleet does not come to


def goodbye_under_suspicion() -> set[Step]:
    """Suspected for its silence, it withdraws its records, and its port refuses."""
    bench, answers = known()
    bench.run(2, answers)
    while not bench.said(Suspected):
        bench.run(0.1)
    bench.give(Withdrawal(heard(WEB).instance))
    bench.run(2.5, {"web": Refused()})
    return bench.steps


def another_machine_in_its_place() -> set[Step]:
    """Down for its silence, then another machine answers at its address."""
    bench, answers = known()
    bench.run(2, answers)
    bench.run(2 * T)
    bench.run(2 * T, {"web": Impostor("other", "3" * 32)})
    return bench.steps


def no_link_left() -> set[Step]:
    """An agent in doubt suspects no peer: the time to live of a peer that is Ready runs out."""
    bench, answers = known()
    bench.run(2, answers)
    bench.give(LinksChanged(()))
    bench.run(2 * T)
    return bench.steps


def forgotten() -> set[Step]:
    bench = Bench()
    bench.give(heard(WEB))
    bench.run(T)
    bench.give(Withdrawal(heard(WEB).instance))
    bench.run(2 * T)
    return bench.steps


def own_name_elsewhere() -> set[Step]:
    """Another id under the agent's own name: announced, in the list of the store, and in a Node that is shown."""
    twin = replace(ME, id="7" * 32, addresses=("10.0.0.7",))
    bench = Bench()
    bench.give(heard(twin))
    bench.write(Joined(name="me", facts=twin, fresh=True))
    bench.give(Synced((bench.seen("me"),)))
    return bench.steps


def former_names() -> set[Step]:
    """A Node with this machine's id at its own place, in each state, learnt of in each way."""
    steps: set[Step] = set()
    for state in (State.READY, State.SUSPECTED, State.NOT_READY):
        source = Bench()
        source.write(Joined(name="old", facts=replace(ME, node="old", boot="old.1"), fresh=True))
        if state is State.SUSPECTED:
            suspected = Suspected(
                name="old", evidence=source.seen("old").evidence, silent_seconds=None, message="…", seen_by="web"
            )
            source.write(suspected)
        elif state is State.NOT_READY:
            source.write(Silent("old", source.seen("old").evidence, standing=True, message="…"))
        shown = source.seen("old")
        proven, listed = SelfProven(ME), Synced((shown,))
        for events in ((proven, listed), (listed, proven), (proven, Synced(()), NodeShown(shown))):
            bench = Bench(online=False)
            for event in events:
                bench.give(event)
            steps |= bench.steps
    return steps


def own_node_given_up() -> set[Step]:
    bench = Bench()
    bench.give(SelfProven(ME))
    bench.give(Synced((OURS,)))
    bench.run(ADOPTION_SECONDS + 1, writing=False)
    return bench.steps


# Fleets


def fleet(*, count: int = 4, shared: bool = True, places: int = 1) -> Fleet:
    made = Fleet(count, ttl=5.0, shared=shared, places=places)
    made.start()
    made.run(15)
    return made


def deaths_and_restarts() -> set[Step]:
    one = fleet()
    for power in (True, False):
        one.kill(one.hosts[0], power=power)
        one.run(12)
        one.start(one.hosts[0])
        one.run(5)
    return one.steps


def partition() -> set[Step]:
    one = fleet()
    one.partition(one.hosts[:1], one.hosts[1:3])
    one.run(30)
    one.cut.clear()
    one.run(10)
    apart = fleet(shared=False)
    apart.partition(apart.hosts[:2], apart.hosts[2:])
    apart.run(20)
    return one.steps | apart.steps


def freeze() -> set[Step]:
    one = fleet()
    one.hosts[1].freeze()
    one.run(9)
    one.hosts[1].thaw()
    one.run(5)
    return one.steps


def goodbyes() -> set[Step]:
    one = fleet(shared=False)
    one.say_goodbye_for(one.hosts[2])
    one.run(2)
    one.stop(one.hosts[1])
    one.run(5)
    return one.steps


def outage() -> set[Step]:
    one = fleet(places=2)
    one.hosts[0].store.lose()
    one.kill(one.hosts[3])
    one.run(20)
    one.hosts[0].store.heal()
    one.run(10)
    return one.steps


def rename() -> set[Step]:
    one = fleet()
    one.rename(one.hosts[1], "renamed")
    one.run(15)
    assert one.hosts[0].store.seen("h1") == "False PeerUnreachable"
    assert one.hosts[0].store.seen("renamed").startswith("True")
    return one.steps


def adoption() -> set[Step]:
    one = Fleet(3, ttl=5.0, shared=True)
    manifest = new_node(DISCOVERY)
    put_machine(manifest, one.hosts[2].facts, DISCOVERY)
    one.hosts[2].store.put("h2", manifest)
    one.start()
    one.run(ADOPTION_SECONDS + 20)
    assert one.hosts[0].store.views["h2"].owner == "network"
    return one.steps


def one_host_with_many_ports() -> set[Step]:
    """More machines answer at one address than may be there: the last ones are not asked, or answered when there is no room."""
    machines = [replace(WEB, node=f"m{n}", id=f"{n:032x}", port=10_000 + n) for n in range(40)]
    steps: set[Step] = set()
    few = limits.PEERS_PER_ADDRESS - 1
    for batches in ((machines,), (machines[:few], machines[few : few + 4])):
        bench = Bench()
        for batch in batches:
            for facts in batch:
                bench.give(heard(facts))
            bench.run(3, Lan(*machines))
        steps |= bench.steps
    return steps


def full_list() -> set[Step]:
    """A machine answers where there are as many Nodes as there may be, one of them long silent."""
    gone = replace(WEB, node="gone", id="a" * 32, addresses=("10.0.0.21",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PEERS", 1)
        bench = Bench()
        bench.give(heard(gone))
        bench.run(3, Lan(gone))
        bench.run(SILENCE_SECONDS + 60, Lan())
        bench.give(heard(WEB))
        bench.run(3, Lan(WEB))
    return bench.steps


SCENES: list[Callable[[], set[Step]]] = [
    goodbye_under_suspicion,
    another_machine_in_its_place,
    no_link_left,
    forgotten,
    own_name_elsewhere,
    former_names,
    own_node_given_up,
    one_host_with_many_ports,
    full_list,
    deaths_and_restarts,
    partition,
    freeze,
    goodbyes,
    outage,
    rename,
    adoption,
]


def test_what_happens_is_what_the_tables_list() -> None:
    """Every scene raises at a step that is not listed; together they come to every entry."""
    steps = set[Step]().union(*(scene() for scene in SCENES))
    reported = {(step.state, step.cause, step.what) for step in steps if step.state is not None}
    assert reported == {(state, cause, what) for state, row in REPORTS.items() for cause, what in row.items()}
    followed = {(step.event, step.what) for step in steps}
    assert followed == {(event, what) for event, row in CONSEQUENCES.items() for what in row}


def test_the_tables_have_a_row_for_every_state_event_and_observation() -> None:
    assert set(REPORTS) == set(State)
    assert {cause for row in REPORTS.values() for cause in row} == set(Cause)
    assert {what for row in REPORTS.values() for what in row.values()} == set(get_args(Observation))
    assert set(CONSEQUENCES) == set(get_args(Event))
    actions = {what for row in CONSEQUENCES.values() for what in row}
    assert actions == {*get_args(Action), *get_args(Observation)} - {Report}


@pytest.mark.parametrize(
    "step",
    [
        Step(Tick, Silent, State.NOT_READY, Cause.SILENCE),
        Step(Tick, Silent, State.READY, Cause.FAILURES),
        Step(NodeShown, StartProbe),
        Step(NodeShown, Left, State.READY, Cause.GOODBYE),
    ],
)
def test_a_step_that_is_not_listed_is_refused(step: Step) -> None:
    with pytest.raises(Unlawful):
        enforce(step)


def test_a_rule_that_leaves_the_table_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {cause: what for cause, what in REPORTS[State.READY].items() if cause is not Cause.FAILURES}
    monkeypatch.setattr(laws, "REPORTS", {**REPORTS, State.READY: without})
    with pytest.raises(Unlawful):
        deaths_and_restarts()


def test_an_agent_that_checks_nothing_does_the_same() -> None:
    """The check is for tests: with it and without it, one history has one outcome."""

    def history(check: laws.Check | None) -> list[tuple[float, list[Action]]]:
        table = PeerTable(TableSettings(name="me", id=ME.id, peer_ttl_seconds=T), chance=Random(1).random, now=0.0, check=check)
        events: list[Event] = [LinksChanged((LINK,)), Synced(()), SelfProven(ME), heard(WEB)]
        done: list[tuple[float, list[Action]]] = []
        now = 0.0
        for _ in range(60):
            now, event = (now, events.pop(0)) if events else (table.deadline, Tick())
            done.append((now, table.handle(event, now)))
            events += [Probed(each.key, Refused()) for each in done[-1][1] if isinstance(each, StartProbe)]
        return done

    unchecked = history(None)
    assert any(isinstance(action, Report) for _, actions in unchecked for action in actions)
    assert unchecked == history(enforce)
