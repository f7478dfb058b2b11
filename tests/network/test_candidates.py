"""A name that several machines announce: who answers is listed, whatever was announced before, after, or in its name."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from k3.core import limits
from k3.core.observation import Alive, Suspected
from k3.network.events import SelfProven
from k3.network.messages import Announcement, Withdrawal
from k3.network.peers.peer import FAILURES
from tests.network.test_peers import ME, TIMING, WEB, Bench, Lan, T, heard

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
