"""What is said of each Node, given how far each datacenter's answer is believed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core.observation import Facts
from k3.discovery.guards import Belief, Trust
from k3.discovery.patience import Doubt, Why
from k3.discovery.picture import Known, Sight, missing, observe
from k3.discovery.policy import Deregistered, Mirrored, RegistryObservation, SourceLost, Stopped
from k3.discovery.snapshot import Instance, Snapshot

FULL, SHOWN, NONE = Belief(Trust.FULL), Belief(Trust.SHOWN, "4 of 5 are missing"), Belief(Trust.NONE, "down")


def machine(name: str, datacenter: str = "dc1", service_id: str = "") -> Instance:
    return Instance(
        datacenter=datacenter,
        consul_node="host",
        service_id=service_id or f"s-{name}",
        wanted_name=name,
        facts=Facts(node=name),
        health="passing",
        message="",
    )


def sight(*machines: Instance, belief: Belief = FULL, is_lost: bool = False, datacenter: str = "dc1") -> Sight:
    return Sight(
        Snapshot(datacenter=datacenter, instances=machines), belief, is_lost, is_silent=is_lost and belief.trust is Trust.NONE
    )


def known(name: str, datacenter: str = "dc1", service_id: str = "", *, is_gone: bool = False) -> Known:
    return Known(name=name, datacenter=datacenter, service_id=service_id or f"s-{name}", is_gone=is_gone)


def said(sights: dict[str, Sight], *nodes: Known) -> dict[str, type[RegistryObservation]]:
    found = observe("k3-node", sights, nodes, "dc1").said
    assert all(each.name == name for name, each in found.items())
    return {name: type(each) for name, each in found.items()}


def test_the_grace_of_a_machine_that_was_shown_begins_when_answers_end() -> None:
    """The mirror had been in doubt for long before, and machines were shown to it all the time."""
    doubted = Sight(Snapshot(datacenter="dc1", instances=(machine("a"),)), NONE, is_lost=True, is_silent=False)
    assert said({"dc1": doubted}, known("a"), known("gone")) == {"gone": SourceLost}


@pytest.mark.parametrize(
    ("belief", "is_lost", "expected"),
    [
        (FULL, False, {"a": Mirrored, "gone": Deregistered}),
        (SHOWN, False, {"a": Mirrored}),
        (SHOWN, True, {"a": Mirrored, "gone": SourceLost}),
        (NONE, False, {}),
        (NONE, True, {"a": SourceLost, "gone": SourceLost}),
    ],
)
def test_what_is_said_follows_from_what_is_believed(
    belief: Belief, is_lost: bool, expected: dict[str, type[RegistryObservation]]
) -> None:
    assert said({"dc1": sight(machine("a"), belief=belief, is_lost=is_lost)}, known("a"), known("gone")) == expected


def test_a_datacenter_s_trouble_is_its_own() -> None:
    down = sight(datacenter="dc2", belief=NONE, is_lost=True)
    found = said({"dc1": sight(machine("a")), "dc2": down}, known("a"), known("b", "dc2"), known("c", "dc3"))
    assert found == {"a": Mirrored, "b": SourceLost}


def test_the_message_says_where_and_why_and_is_fit_to_print() -> None:
    down = sight(belief=Belief(Trust.NONE, "\x1b[2J" * 200), is_lost=True)
    lost = observe("k3-node", {"dc1": down}, [known("a")], "dc1").said["a"]
    assert isinstance(lost, SourceLost)
    assert lost.message.startswith("no word from Consul's datacenter dc1: \\x1b[2J")
    assert lost.message.isprintable()
    assert len(lost.message) < 1000


def test_who_does_not_want_to_be_a_node_is_not_spoken_of() -> None:
    hidden = replace(machine("a"), is_hidden=True)
    assert said({"dc1": sight(hidden)}, known("a")) == {}


def test_the_name_of_a_machine_out_of_sight_is_not_given_away() -> None:
    other = machine("a", "dc2", "s-other")
    down = sight(belief=NONE)
    found = observe("k3-node", {"dc1": down, "dc2": sight(other)}, [known("a")], "dc1").said
    second = found["a-dc2"]
    assert isinstance(second, Mirrored)
    assert (second.conflict_with, set(found)) == ("a", {"a-dc2"})
    moved = observe("k3-node", {"dc1": sight(), "dc2": sight(other)}, [known("a")], "dc1").said
    assert set(moved) == {"a"}
    gone = observe("k3-node", {"dc1": down, "dc2": sight(other)}, [known("a", is_gone=True)], "dc1").said
    assert set(gone) == {"a"}


def host(name: str, boot: str = "", **more: Any) -> Instance:
    """A machine that k3 registered."""
    facts = Facts(node=name, addresses=("10.0.0.7",), port=7946, id="a" * 32, boot=boot or "b" * 16)
    return replace(machine(name), facts=facts, **more)


def seen(instance: Instance, *over: Doubt) -> RegistryObservation:
    return observe("k3-node", {"dc1": sight(instance)}, [], "dc1", frozenset(over)).said["a"]


@pytest.mark.parametrize(
    ("health", "why", "at_last"),
    [("unknown", Why.SILENT, "unknown"), ("unasked", Why.UNASKED, "critical")],
)
def test_a_machine_in_doubt_stays_as_it_is_until_the_doubt_is_over(health: Any, why: Why, at_last: str) -> None:
    instance = host("a", health=health)
    first = seen(instance)
    assert isinstance(first, Mirrored)
    assert first.health == "unasked"
    then = seen(instance, Doubt(why, *instance.identity))
    assert isinstance(then, Mirrored)
    assert then.health == at_last


def test_who_cannot_be_asked_is_unknown_as_soon_as_its_agent_is_silent() -> None:
    said_ = seen(replace(machine("a"), health="unknown"))
    assert isinstance(said_, Mirrored)
    assert said_.health == "unknown"


def test_a_goodbye_is_believed_at_once() -> None:
    assert seen(host("a", is_leaving=True)) == Stopped("a", "k3-node", "b" * 16)


def test_a_ready_machine_that_is_missing_is_gone_when_the_doubt_is_over() -> None:
    node = replace(known("a"), is_ready=True, consul_node="host")
    found = observe("k3-node", {"dc1": sight(machine("b"))}, [node], "dc1")
    assert set(found.said) == {"b"}
    assert found.doubts == {missing(node)}
    over = observe("k3-node", {"dc1": sight(machine("b"))}, [node], "dc1", frozenset({missing(node)}))
    assert isinstance(over.said["a"], Deregistered)
    assert said({"dc1": sight(machine("b"))}, replace(node, is_ready=False))["a"] is Deregistered, "that is no news to anybody"


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ({"health": "unknown"}, {"boot": "c" * 16}, {"a": "new"}),
        ({}, {}, {"a": "host"}),
        ({"health": "unknown"}, {"health": "unknown"}, {"a": "host"}),
        ({}, {"boot": "c" * 16}, {"a": "host", "a-second": "new"}),
    ],
    ids=["the old agent is silent", "one run", "both are silent", "two machines"],
)
def test_a_machine_that_two_agents_show_is_one_node(
    first: dict[str, Any], second: dict[str, Any], shown: dict[str, str]
) -> None:
    boot = second.pop("boot", "")
    instances = (host("a", **first), replace(host("a", boot, **second), consul_node="new"))
    held = replace(known("a"), consul_node="host", is_ready=True)
    named = observe("k3-node", {"dc1": sight(*instances)}, [held], "dc1").named.values()
    assert {each.name if each.name == "a" else "a-second": each.instance.consul_node for each in named} == shown


def test_a_node_of_the_original_s_is_missing_only_where_all_is_known() -> None:
    theirs = Known(name="old", datacenter="", service_id="", is_gone=False, is_ready=True, is_original=True)
    over = frozenset({missing(theirs)})
    whole = {"dc1": sight(machine("a")), "dc2": sight(datacenter="dc2")}
    assert set(observe("k3-node", whole, [theirs], "dc1").said) == {"a"}
    assert isinstance(observe("k3-node", whole, [theirs], "dc1", over).said["old"], Deregistered)
    partly = {**whole, "dc2": sight(datacenter="dc2", belief=SHOWN)}
    assert set(observe("k3-node", partly, [theirs], "dc1", over).said) == {"a"}
    assert isinstance(observe("k3-node", {"dc1": sight(machine("old"))}, [theirs], "dc1").said["old"], Mirrored)


trusts = st.sampled_from([FULL, SHOWN, NONE])
shown = st.lists(st.builds(machine, st.sampled_from("abc"), st.just("dc1"), st.sampled_from("xyz")), max_size=4)


@given(shown, trusts, st.booleans(), st.sets(st.sampled_from("abcd")))
def test_nothing_is_deregistered_but_by_a_fully_believed_answer(
    machines: list[Instance], belief: Belief, is_lost: bool, names: set[str]
) -> None:
    unique = {each.service_id: each for each in machines}.values()
    found = said({"dc1": sight(*unique, belief=belief, is_lost=is_lost)}, *(known(name) for name in names))
    if belief is not FULL:
        assert Deregistered not in found.values()
    if not is_lost:
        assert SourceLost not in found.values()
    if belief is NONE:
        assert Mirrored not in found.values()
