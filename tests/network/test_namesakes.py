"""Two machines of one name, as an observer lists them: the first keeps it, the second is listed beside it, and said once."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from k3.core import node
from k3.core.decision import Create
from k3.core.observation import Alive, Evidence, Facts, Joined
from k3.network import naming, policy
from k3.network.events import SelfProven
from k3.network.messages import Answered, Endpoint, Impostor, NoAnswer, Outcome, Target, Withdrawal
from k3.network.namesakes import CLAIMS_PER_NAME, Namesakes
from tests.network.test_peers import EPOCH, ME, WEB, Answers, Bench, T, heard

LIAR = replace(WEB, addresses=("10.0.0.66",), id="f" * 32, boot="liar.1")
SECOND = "web-ffffff"


class Lab(Bench):
    """One observer: its namesakes in front of its table and store, and machines that answer at their addresses."""

    def __init__(self, *machines: Facts) -> None:
        super().__init__()
        self.machines = {each.addresses[0]: each for each in machines}
        self.told_by: list[str] = []
        self.namesakes = Namesakes(
            shown=lambda name: self.seen(name) if name in self.nodes else None,
            own=lambda: (ME.node, ME.id),
            registers=True,
            prober=self,
            hand=self.give,
        )
        self.give(SelfProven(ME))
        self.run(0)

    async def ask(self, target: Target, *, timeout_seconds: float) -> Outcome:
        """As `probe` does."""
        self.told_by.append(target.name)
        for number, group in enumerate(target.groups):
            for end in group:
                if (facts := self.machines.get(end.address)) is None:
                    continue
                if facts.node != target.name or (target.id and facts.id != target.id):
                    return Impostor(facts.node, facts.id, end)
                return Answered(facts=facts, endpoint=end, group=number)
        return NoAnswer(f"no answer in {timeout_seconds} s")

    def asked_now(self, target: Target) -> Outcome:
        """What comes of asking through the namesakes, which here wait for nothing."""
        try:
            self.namesakes.ask(target, timeout_seconds=1.0).send(None)
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome
        raise AssertionError(target)

    def settle(self, answers: Answers, *, writing: bool) -> None:
        while self.probes or len(self.reports) > self._written:
            super().settle(self.asked_now, writing=writing)
            for name in list(self.nodes):
                self.namesakes.show(self.seen(name))

    def hear(self, facts: Facts, instance: str = "") -> None:
        """It announces itself."""
        self.namesakes.hear(heard(facts, instance))

    def ready(self) -> dict[str, str]:
        """Who is Ready in the list, and under which id."""
        seen = {name: self.seen(name) for name in self.nodes}
        return {name: each.id for name, each in seen.items() if each.is_ready and each.is_reachable}


def test_the_second_machine_of_a_name_is_listed_beside_the_first_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab(WEB, LIAR)
    lab.hear(WEB)
    lab.run(1)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            lab.hear(LIAR)
            lab.run(2 * T)
    assert lab.ready() == {"me": ME.id, "web": WEB.id, SECOND: LIAR.id}
    assert [each.getMessage() for each in caplog.records] == ["name.contested"]
    assert caplog.records[0].fields == {  # type: ignore[attr-defined]
        "node": "web",
        "other": "at 10.0.0.66 port 7946",
        "listed": SECOND,
        "advice": naming.ADVICE,
    }


def test_who_was_first_is_first_however_they_come_to_be_asked() -> None:
    lab = Lab(WEB, LIAR)
    lab.hear(LIAR)
    lab.run(1)
    lab.hear(WEB)
    lab.run(T)
    assert lab.ready() == {"me": ME.id, "web": LIAR.id, naming.second_name("web", WEB.id): WEB.id}


def test_a_claim_that_nobody_proves_is_not_listed_as_a_machine() -> None:
    lab = Lab(WEB)
    for each in (WEB, LIAR):
        lab.hear(each)
        lab.run(T)
    assert lab.ready() == {"me": ME.id, "web": WEB.id}


def test_a_machine_that_calls_itself_as_this_one_is_listed_beside_it() -> None:
    twin = replace(LIAR, node="me")
    lab = Lab(twin)
    lab.hear(twin)
    lab.run(T)
    assert lab.ready() == {"me": ME.id, "me-ffffff": LIAR.id}
    assert lab.said(Alive)


def test_who_has_the_name_on_the_list_is_listed_beside_this_machine_once_that_has_it() -> None:
    """Its Node is refreshed by others before this machine writes its own there; and it does not announce itself again."""
    lab = Lab(twin := replace(LIAR, node="me"))
    own = lab.nodes.pop("me")
    seen = Alive(name="me", facts=twin, seen_by="other", evidence=Evidence())
    for seconds in range(2):
        made = policy.decide(None, seen, now=EPOCH + timedelta(seconds=seconds))
        assert isinstance(made, Create)
        lab.nodes["me"] = made.manifest
        if seconds == 0:
            lab.hear(twin)
        lab.namesakes.show(lab.seen("me"))
    lab.nodes["me"] = own
    lab.namesakes.show(lab.seen("me"))
    lab.run(T)
    assert lab.ready() == {"me": ME.id, "me-ffffff": LIAR.id}


def test_until_this_machine_is_on_its_list_nobody_is_listed_beside_it() -> None:
    """Of two that begin at once on one store, the one whose Node it becomes keeps the name: it must not be listed twice."""
    lab = Lab(twin := replace(LIAR, node="me"))
    own = lab.nodes.pop("me")
    lab.hear(twin)
    lab.run(1)
    assert lab.ready() == {}
    lab.nodes["me"] = own
    lab.namesakes.show(lab.seen("me"))
    lab.run(T)
    assert lab.ready()["me-ffffff"] == LIAR.id


def test_a_reinstalled_machine_gets_its_name_back_in_place() -> None:
    """The first one does not answer any more: its Node is taken over, and nobody is listed beside it."""
    lab = Lab(WEB)
    lab.hear(WEB)
    lab.run(1)
    again = replace(WEB, id="e" * 32)
    lab.machines[WEB.addresses[0]] = again
    lab.hear(again)
    lab.run(2 * T)
    assert lab.ready() == {"me": ME.id, "web": again.id}


def test_who_takes_its_second_name_by_itself_stays_listed() -> None:
    lab = Lab(WEB, LIAR)
    for each in (WEB, LIAR):
        lab.hear(each)
        lab.run(T)
    renamed = replace(LIAR, node=SECOND)
    lab.machines[LIAR.addresses[0]] = renamed
    lab.namesakes.hear(Withdrawal(heard(LIAR).instance))
    lab.hear(renamed)
    lab.run(2 * T)
    assert lab.ready() == {"me": ME.id, "web": WEB.id, SECOND: LIAR.id}
    lab.told_by.clear()
    lab.run(T)
    assert "web" in lab.told_by
    assert lab.told_by.count("web") <= lab.told_by.count(SECOND) + 1, "it is asked by the name it says now"


def test_an_observer_that_begins_again_finds_out_by_asking() -> None:
    """It has heard nothing yet, and its list has both."""
    lab = Lab(WEB, LIAR)
    lab.namesakes._said.clear()
    for name, facts in (("web", WEB), (SECOND, LIAR)):
        made = policy.decide(None, Alive(name=name, facts=facts, seen_by="me", evidence=Evidence()), now=EPOCH)
        assert isinstance(made, Create)
        lab.nodes[name] = made.manifest
    end = Endpoint(LIAR.addresses[0], LIAR.port)
    for _ in range(2):
        outcome = lab.asked_now(Target(SECOND, ((end,),), LIAR.id))
        assert isinstance(outcome, Answered)
    assert lab.told_by == [SECOND, "web", "web"]


def test_who_got_its_name_back_is_not_listed_twice() -> None:
    """The first one's Node was removed: whoever was listed beside it has the name now, and the second Node says so."""
    lab = Lab(LIAR)
    made = policy.decide(None, Alive(name="web", facts=LIAR, seen_by="me", evidence=Evidence()), now=EPOCH)
    assert isinstance(made, Create)
    lab.nodes["web"] = made.manifest
    outcome = lab.asked_now(Target(SECOND, ((Endpoint(LIAR.addresses[0], LIAR.port),),), LIAR.id))
    assert outcome == Impostor("web", LIAR.id, Endpoint(LIAR.addresses[0], LIAR.port))


def test_who_takes_a_machines_second_name_does_not_hide_it() -> None:
    """A liar under the name, and another one under the second name that this leaves to the machine."""
    first, second = replace(LIAR, addresses=("10.0.0.67",)), naming.second_name("web", WEB.id)
    other = replace(LIAR, node=second, id="e" * 32)
    lab = Lab(first, other, WEB)
    for each in (first, other, WEB):
        lab.hear(each)
        lab.run(T)
    assert lab.ready() == {"me": ME.id, "web": first.id, second: other.id, naming.second_name(second, WEB.id): WEB.id}
    third = Target(naming.second_name(second, WEB.id), ((Endpoint(WEB.addresses[0], WEB.port),),), WEB.id)
    assert isinstance(lab.asked_now(third), Answered)


def test_claims_are_bounded() -> None:
    lab = Lab(WEB)
    lab.hear(WEB)
    lab.run(1)
    for number in range(1_000):
        lab.hear(replace(LIAR, id=f"{number:032x}"), f"liar{number}")
    assert len(lab.namesakes._claims) == CLAIMS_PER_NAME
    lab.run(2 * T)
    assert lab.ready() == {"me": ME.id, "web": WEB.id}


# --- the rules


@pytest.mark.parametrize(
    ("id_", "holder", "listed"),
    [(LIAR.id, "", "web"), (LIAR.id, LIAR.id, "web"), (LIAR.id, WEB.id, SECOND), ("", WEB.id, "web")],
)
def test_under_which_name_a_machine_is_listed(id_: str, holder: str, listed: str) -> None:
    assert naming.listed_as("web", id_, holder=lambda name: holder if name == "web" else "") == listed


def test_a_second_name_is_a_nodes_name_however_long_the_first_one_is() -> None:
    long = ".".join(["n" * 63] * 3 + ["n" * 50 + ".nnnnnnn"])
    assert len(long) == 250
    second = naming.second_name(long, LIAR.id)
    assert node.valid_name(second)
    assert second.endswith("n-ffffff")
    assert len(second) <= 250


def test_the_event_says_who_is_listed_beside_whom() -> None:
    made = policy.decide(None, Alive(name=SECOND, facts=LIAR, seen_by="me", evidence=Evidence()), now=EPOCH)
    assert isinstance(made, Create)
    assert (made.transition.reason, made.transition.warning) == ("NameConflict", True)
    assert made.transition.message == "another live machine is called web; this one goes by web-ffffff"


def test_an_observer_that_finds_another_machine_in_its_place_does_not_say_that_its_agent_writes_there() -> None:
    made = policy.decide(None, Joined(name="web", facts=WEB, fresh=True), now=EPOCH)
    assert isinstance(made, Create)
    seen = Alive(name="web", facts=LIAR, seen_by="me", evidence=Evidence(), displaces=WEB.id)
    decision = policy.decide(made.manifest, seen, now=EPOCH)
    assert not isinstance(decision, Create)
    written = node.view_manifest("web", decision.manifest)  # type: ignore[union-attr]
    assert (written.id, written.agent) == (LIAR.id, "")
    assert naming.claim_of(written, LIAR.id) is naming.Claim.ANSWERS
