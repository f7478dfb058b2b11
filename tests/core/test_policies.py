"""Every source's policy keeps the laws that all keep: k3's own, and one from outside. A policy that breaks one is found."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from k3.core import node
from k3.core.decision import Create, Decision, Keep, Update
from k3.core.objects import Manifest, copied
from k3.core.observation import Alive, Evidence, Facts, Left, Silent
from k3.core.sources import DISCOVERY, NETWORK, SOURCES
from k3.discovery import policy as discovery_policy
from k3.discovery.policy import Deregistered, Mirrored, SourceLost
from k3.network import policy as network_policy
from k3.testing.policy_suite import PolicySuite

TOYS = Path(__file__).parent.parent / "toys"
sys.path.insert(0, str(TOYS))
import k3_hosts  # noqa: E402 - a package that lies outside of k3

sys.path.remove(str(TOYS))

FACTS = Facts(node="web1", addresses=("10.0.0.7",), port=7946, pid=2, id="1" * 32, boot="b" * 16, peer_ttl_seconds=90)


def evidence(current: Manifest | None) -> Evidence:
    return node.view_manifest("web1", current or {}).evidence


class TestNetwork(PolicySuite):
    row = NETWORK
    decide = staticmethod(network_policy.decide)

    def alive(self, current: Manifest | None) -> Alive:
        return Alive(name="web1", facts=FACTS, seen_by="hub", evidence=evidence(current))

    def others(self, current: Manifest) -> Iterable[Silent | Left]:
        seen = evidence(current)
        yield Silent("web1", seen, standing=True, message="no answer for 90s")
        yield Silent("web1", seen, standing=False, message="nobody in a position to ask")
        yield Left("web1", seen, by_itself=False)


class TestDiscovery(PolicySuite):
    row = DISCOVERY
    decide = staticmethod(discovery_policy.decide)

    def alive(self, current: Manifest | None) -> Mirrored:
        return Mirrored(
            name="web1",
            facts=FACTS,
            service="k3-node",
            service_id="k3-node-web1",
            consul_node="web1",
            datacenter="dc1",
            health="passing",
            message="all checks pass",
        )

    def others(self, current: Manifest) -> Iterable[Mirrored | Deregistered | SourceLost]:
        yield Deregistered("web1", "k3-node")
        yield SourceLost("web1", "k3-node", "dc1 has been out of reach for 60s")


class TestHosts(PolicySuite):
    row = k3_hosts.ROW
    decide = staticmethod(k3_hosts.decide)

    @pytest.fixture(autouse=True)
    def _in_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(SOURCES, self.row.name, self.row)

    def alive(self, current: Manifest | None) -> k3_hosts.Listed:
        return k3_hosts.Listed("web1", ("10.0.0.7",), is_refresh_due=False)

    def others(self, current: Manifest) -> Iterable[k3_hosts.Unlisted]:
        yield k3_hosts.Unlisted("web1")


def greedy(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
    """Writes to Nodes of others."""
    if current is None:
        return network_policy.decide(current, seen, now=now)
    return Update(copied(current))


def forgetful(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
    """Makes every Node anew."""
    decision = network_policy.decide(current, seen, now=now)
    if isinstance(decision, Update):
        made = network_policy.decide(None, replace(TestNetwork().alive(None)), now=now)
        assert isinstance(made, Create)
        return Update(made.manifest)
    return decision


def careless(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
    """Changes what it was given."""
    decision = network_policy.decide(current, seen, now=now)
    if current is not None and isinstance(decision, Update):
        current["status"]["conditions"] = []
    return decision


def restless(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
    """Says again and again that something has happened."""
    decision = network_policy.decide(current, seen, now=now)
    if isinstance(decision, Update) and decision.transition is None:
        made = network_policy.decide(None, TestNetwork().alive(None), now=now)
        assert isinstance(made, Create)
        return replace(decision, transition=made.transition)
    return decision


def talkative(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
    """Writes a reason that is not in its row, which readers take for a controller's."""
    decision = network_policy.decide(current, seen, now=now)
    if isinstance(decision, Update):
        for each in decision.manifest["status"]["conditions"]:
            each["reason"] = "Whatever"
    return decision


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (greedy, "test_a_controllers_node_is_left_alone"),
        (forgetful, "test_what_it_does_not_know_survives"),
        (careless, "test_what_it_was_given_is_not_changed"),
        (restless, "test_said_again_it_is_no_transition"),
        (talkative, "test_what_it_concludes_has_a_reason_of_its_row_and_moves_ready_once"),
    ],
)
def test_a_broken_policy_is_found(broken: Any, law: str) -> None:
    suite = TestNetwork()
    getattr(suite, law)()
    TestNetwork.decide = staticmethod(broken)
    try:
        with pytest.raises((AssertionError, KeyError)):
            getattr(suite, law)()
    finally:
        TestNetwork.decide = staticmethod(network_policy.decide)


def test_one_who_keeps_everything_is_found() -> None:
    def idle(current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
        return Keep("")

    TestNetwork.decide = staticmethod(idle)
    try:
        with pytest.raises(AssertionError):
            TestNetwork().test_a_machine_that_is_well_becomes_a_ready_node_of_this_source()
    finally:
        TestNetwork.decide = staticmethod(network_policy.decide)
