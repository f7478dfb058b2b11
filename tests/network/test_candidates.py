"""A name that several machines announce: who answers is listed, whatever was announced before, after, or in its name."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from k3.core import limits
from k3.core.observation import Alive, Facts, Forgotten, Suspected
from k3.network.events import BoundMet, Probed, SelfProven, StartProbe, Tick
from k3.network.messages import Announcement, NoAnswer, Outcome, Refused, Withdrawal
from k3.network.peers.bounds import SILENCE_SECONDS
from k3.network.peers.crowd import FRUITLESS_AT_ONCE, FRUITLESS_PER_SECOND
from k3.network.peers.peer import FAILURES
from tests.network.test_peers import ME, SILENCE, TIMING, WEB, Bench, Lan, T, heard

LINK = Lan(WEB)
SILENT = ("10.0.0.99",)
FOREIGN = "f" * 32


def forged(number: int = 0, **changes: object) -> Announcement:
    """The name at a silent address under another id, unless `changes` says otherwise."""
    facts = replace(WEB, id=f"{0xF000 + number:032x}", addresses=(f"10.0.0.{99 + number}",), boot="f" * 16)
    return replace(heard(facts, f"web-forged{number}"), **changes)  # type: ignore[arg-type]


FORGERIES: dict[str, Callable[[], list[Announcement]]] = {
    "another id": lambda: [forged()],
    "many other ids": lambda: [forged(number) for number in range(60)],
    "its own id, another address": lambda: [forged(id=WEB.id)],
    "its own instance": lambda: [forged(instance=heard(WEB).instance)],
    "its own instance and id": lambda: [replace(heard(WEB), addresses=SILENT)],
    "no id": lambda: [forged(id="")],
    "another id at its address": lambda: [forged(addresses=WEB.addresses)],
    "another id at its address, another port": lambda: [forged(addresses=WEB.addresses, port=9)],
    "other names at its address": lambda: [forged(n, node=f"x{n}", addresses=WEB.addresses) for n in range(200)],
    "its address among others": lambda: [forged(addresses=(*SILENT, *WEB.addresses))],
}
NAMES = pytest.mark.parametrize("what", FORGERIES)


def fresh() -> Bench:
    bench = Bench()
    bench.give(SelfProven(ME))
    return bench


def listed_at(bench: Bench, name: str = "web") -> float:
    return next(at for at, alive in bench.said(Alive) if alive.name == name)


@NAMES
@pytest.mark.parametrize("earlier", [0.0, 0.01, 1.0, 10 * T])
def test_who_answers_is_listed_whatever_was_announced_before(what: str, earlier: float) -> None:
    bench = fresh()
    for each in FORGERIES[what]():
        bench.give(each)
    bench.run(earlier, Lan(replace(WEB, node="not-yet")))
    began = bench.now
    bench.give(heard(WEB))
    bench.run(2, LINK)
    assert listed_at(bench) - began < 1.0
    assert (bench.seen("web").id, bench.seen("web").addresses) == (WEB.id, WEB.addresses)
    assert bench.seen("web").is_ready


@NAMES
def test_a_forgery_while_the_first_question_is_under_way_changes_nothing(what: str) -> None:
    bench = fresh()
    bench.give(heard(WEB))
    for each in FORGERIES[what]():
        bench.give(each)
    bench.run(1, LINK)
    assert bench.seen("web").is_ready
    assert bench.seen("web").id == WEB.id


@NAMES
def test_what_is_forged_later_moves_and_delays_nothing(what: str) -> None:
    bench = fresh()
    bench.give(heard(WEB))
    bench.run(3, LINK)
    began, asked = bench.now, len(bench.asked("web"))
    for _ in range(20):
        for each in FORGERIES[what]():
            bench.give(each)
        bench.give(Withdrawal(heard(WEB).instance))
        bench.run(0.2, LINK)
    bench.run(3 * T, LINK)
    assert not bench.said(Suspected)
    assert (bench.seen("web").id, bench.seen("web").addresses) == (WEB.id, WEB.addresses)
    peer = bench.table.peers["web"]
    assert (peer.backoff, peer.failures) == (0.0, 0)
    assert len(bench.asked("web")) - asked <= (bench.now - began) / 0.2 + 2
    # And its death is seen as soon as ever.
    died = bench.now
    bench.run(2 * TIMING.period + TIMING.retry)
    assert bench.said(Suspected)[0][0] - died <= TIMING.period + FAILURES * TIMING.retry + 0.1
    bench.run(T + 1)
    assert not bench.seen("web").is_ready


@NAMES
def test_a_machine_that_comes_back_is_found_again_whatever_was_forged_meanwhile(what: str) -> None:
    bench = fresh()
    bench.give(heard(WEB))
    bench.run(3, LINK)
    bench.run(3 * T)
    assert not bench.seen("web").is_ready
    for each in FORGERIES[what]():
        bench.give(each)
    bench.run(5)
    again = replace(WEB, boot="web.2")
    bench.give(heard(again))
    bench.run(1.5, Lan(again))
    assert bench.seen("web").is_ready
    assert bench.seen("web").boot == "web.2"


def test_of_two_that_claim_a_dead_machines_name_the_one_that_answers_gets_it() -> None:
    bench = fresh()
    bench.give(heard(WEB))
    bench.run(3, LINK)
    bench.run(2 * T)
    heir = replace(WEB, id="8" * 32, addresses=("10.0.0.8",), boot="web.8")
    for number in range(12):
        bench.give(forged(number))
    bench.give(heard(heir))
    bench.run(1, Lan(heir))
    assert bench.seen("web").id == heir.id
    assert bench.seen("web").is_ready


def test_a_liar_that_answers_waits_for_the_verdict_over_the_holder() -> None:
    """Two lost answers are no death: a second id gets the name when its Node is not Ready any more."""
    bench = fresh()
    bench.give(heard(WEB))
    bench.run(3, LINK)
    liar = replace(WEB, id=FOREIGN, addresses=("10.0.0.66",))
    bench.give(heard(liar))
    bench.run(TIMING.period + 2 * TIMING.retry + 0.5, Lan(liar))
    assert bench.said(Suspected)
    bench.run(3, Lan(WEB, liar))
    assert bench.seen("web").id == WEB.id
    assert bench.seen("web").is_ready


def test_a_never_proven_node_of_a_forgery_gives_way_at_once() -> None:
    bench = fresh()
    bench.give(forged())
    bench.run(2 * T)
    assert bench.seen("web").is_unproven
    began = bench.now
    bench.give(heard(WEB))
    bench.run(1, LINK)
    assert listed_at(bench) - began < 0.6
    assert bench.seen("web").id == WEB.id


def test_a_forged_name_costs_a_bounded_number_of_probes() -> None:
    bench = fresh()
    for number in range(300):
        bench.give(forged(number, addresses=(f"10.0.0.{number % 250 + 3}",)))
    began = bench.now
    bench.run(60)
    assert len(bench.asked("web")) <= limits.CANDIDATES_PER_NAME * (2 + 60 / T) + 32
    assert bench.now > began


def test_another_ones_instance_in_two_names_is_withdrawn_from_both() -> None:
    bench = fresh()
    bench.give(heard(WEB))
    bench.give(replace(heard(WEB), node="other"))
    bench.give(Withdrawal(heard(WEB).instance))
    bench.run(2 * T)
    assert not bench.table.knows("web")
    assert not bench.table.knows("other")


# One host with many ports


def machine(number: int, *, address: str = "10.0.0.7") -> Facts:
    return replace(
        WEB, node=f"m{number}", id=f"{number:032x}", addresses=(address,), port=10_000 + number, boot=f"{number:016x}"
    )


def ready(bench: Bench) -> set[str]:
    return {name for name in bench.nodes if name != "me" and bench.seen(name).is_ready}


def test_a_host_that_answers_on_thousands_of_ports_is_a_few_machines_and_delays_nobody() -> None:
    bench = fresh()
    many = [machine(number) for number in range(4_600)]
    link = Lan(*many, WEB)
    for count, facts in enumerate(many):
        bench.give(heard(facts))
        if count % 100 == 0:
            bench.run(0.1, link)
    began = bench.now
    bench.give(heard(WEB))
    bench.run(2, link)
    assert listed_at(bench) - began < 1.0
    asked, began = len(bench.log), bench.now
    bench.run(20, link)
    assert len(ready(bench)) == limits.PEERS_PER_ADDRESS + 1
    probes = [target for _, target in bench.log[asked:] if isinstance(target, StartProbe)]
    assert len(probes) <= (limits.PEERS_PER_ADDRESS + 1) * (20 / TIMING.period + 2)
    said = [action for _, action in bench.log if isinstance(action, BoundMet)]
    assert sorted(each.what for each in said) == ["announced machines that have not answered", "machines at one address"]
    assert {each.where for each in said} == {"10.0.0.7"}


def test_a_place_is_free_again_a_while_after_its_machine_is_gone() -> None:
    bench = fresh()
    many = [machine(number) for number in range(limits.PEERS_PER_ADDRESS + 1)]
    for facts in many:
        bench.give(heard(facts))
        bench.run(0.2, Lan(*many))
    assert ready(bench) == {facts.node for facts in many[:-1]}
    bench.run(60, Lan(*many[1:]))
    assert many[-1].node not in bench.nodes
    bench.run(SILENCE_SECONDS, Lan(*many[1:]))
    assert many[-1].node in ready(bench)


def test_a_full_list_lets_the_longest_silent_go_for_whoever_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PEERS", 4)
    bench = fresh()
    machines = [replace(machine(number), addresses=(f"10.0.0.{20 + number}",)) for number in range(4)]
    for facts in machines:
        bench.give(heard(facts))
    bench.run(5, Lan(*machines))
    assert len(ready(bench)) == 4
    newcomer = replace(WEB, node="late")
    bench.give(heard(newcomer))
    bench.run(30, Lan(*machines, newcomer))
    assert "late" not in bench.nodes, "whoever lives stays"
    bench.run(60, Lan(*machines[1:], newcomer))
    bench.run(SILENCE_SECONDS + 60, Lan(*machines[2:], newcomer), writing=True)
    gone = [seen.name for _, seen in bench.said(Forgotten)]
    assert gone[:1] == [machines[0].node], "the one that has been silent longest"
    assert "late" in ready(bench)


def test_invented_names_push_no_silent_machine_off_a_full_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEERS", 2)
    bench = fresh()
    machines = [replace(machine(number), addresses=(f"10.0.0.{20 + number}",)) for number in range(2)]
    for facts in machines:
        bench.give(heard(facts))
    bench.run(5, Lan(*machines))
    bench.run(SILENCE_SECONDS + 60, Lan())
    for number in range(50):
        bench.give(forged(number, node=f"invented{number}"))
    bench.run(60, Lan())
    assert not bench.said(Forgotten)


def test_what_machines_say_of_their_addresses_takes_no_place_from_who_is_there() -> None:
    """A liar says that it has another machine's address; only where it answers counts."""
    bench = fresh()
    liars = [replace(machine(number), addresses=("10.0.0.66", *WEB.addresses)) for number in range(60)]

    link = Lan(WEB)
    link.there |= {("10.0.0.66", facts.port): facts for facts in liars}
    for facts in liars:
        bench.give(heard(replace(facts, addresses=("10.0.0.66",))))
    bench.run(5, link)
    bench.give(heard(WEB))
    bench.run(1, link)
    assert "web" in ready(bench)
    assert len(ready(bench)) == limits.PEERS_PER_ADDRESS + 1


# Floods of invented names

ORIGINS: dict[str, Callable[[int], str]] = {
    "one address": lambda _: "10.0.0.66",
    "changing addresses of a /24": lambda number: f"10.0.0.{3 + number % 251}",
}


class Flood:
    """A bench on which 800 names a second are invented, and each question takes its time."""

    def __init__(self, address: Callable[[int], str], answer: Outcome) -> None:
        self.bench = fresh()
        self._address = address
        self._answer = answer
        self._names = 0
        self._asked: list[tuple[float, str, Outcome]] = []

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.005)):
            self.bench.now += 0.005
            for _ in range(4):
                self._names += 1
                facts = replace(WEB, node=f"x{self._names}", id=f"{self._names:032x}", port=9)
                self.bench.give(heard(replace(facts, addresses=(self._address(self._names),))))
            self._settle()
            if self.bench.table.deadline <= self.bench.now:
                self.bench.give(Tick())

    def _settle(self) -> None:
        bench = self.bench
        for key, target in bench.probes.items():
            is_real = target.name == "web"
            silent = not is_real and isinstance(self._answer, NoAnswer)
            self._asked.append((bench.now + (0.5 if silent else 0.002), key, LINK(target) if is_real else self._answer))
        bench.probes.clear()
        due, self._asked = [each for each in self._asked if each[0] <= bench.now], [e for e in self._asked if e[0] > bench.now]
        for _, key, outcome in due:
            bench.give(Probed(key, outcome))
        if not bench.probes:
            bench.settle({}, writing=True)


@pytest.mark.parametrize("where", ORIGINS)
@pytest.mark.parametrize("answer", [Refused(), SILENCE], ids=["refused", "silent"])
def test_a_newcomer_is_listed_in_a_flood(where: str, answer: Outcome) -> None:
    flood = Flood(ORIGINS[where], answer)
    flood.run(2)
    bench, began = flood.bench, flood.bench.now
    bench.give(heard(WEB))
    flood.run(1.5)
    assert listed_at(bench) - began < 1.0
    probes = sum(isinstance(action, StartProbe) for _, action in bench.log)
    # Each that fails is asked once more, and the few that are shown as never proven are looked after.
    assert probes <= 2 * (FRUITLESS_AT_ONCE + FRUITLESS_PER_SECOND * 3.5) + 4 * limits.UNPROVEN_NODES
