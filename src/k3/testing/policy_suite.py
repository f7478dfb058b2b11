"""The laws of a source's policy as tests, the same for every source.

Inherit `PolicySuite` and say what the policy is and what your source may say:

    class TestMyPolicy(PolicySuite):
        row = ROW
        decide = staticmethod(decide)

        def alive(self, current: Manifest | None) -> Listed:
            return Listed("web1", ("192.0.2.7",))

        def others(self, current: Manifest) -> list[Seen]:
            return [Unlisted("web1")]

What a policy may do beyond them (adopt, add heartbeats to a controller's Node) is for tests of its own: leave it out of what
`alive` and `others` return.
"""
# ruff: noqa: S101 - assert is how a test speaks

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from k3.core import node
from k3.core.decision import Create, Decision, Delete, Keep, Update
from k3.core.objects import Manifest
from k3.core.sources import SourceRow

NOW: Final = datetime(2026, 11, 23, 8, tzinfo=UTC)
LATER: Final = NOW + timedelta(hours=1)


class PolicySuite:
    """Inherit in a class whose name begins with `Test`."""

    row: ClassVar[SourceRow]
    decide: ClassVar[Callable[..., Decision]]

    @abstractmethod
    def alive(self, current: Manifest | None) -> Any:  # noqa: ANN401 - the source's own observation
        """What the source says of a machine that is well, given its Node as stored."""

    @abstractmethod
    def others(self, current: Manifest) -> Iterable[Any]:
        """What else it may say of that machine: silent, gone, ill. Each would change a Ready Node."""

    def made(self) -> Manifest:
        """The Node that the policy makes for a machine that is well."""
        decision = self.decide(None, self.alive(None), now=NOW)
        assert isinstance(decision, Create)
        return decision.manifest

    def test_a_machine_that_is_well_becomes_a_ready_node_of_this_source(self) -> None:
        """With its labels, one of its reasons, and the first transition."""
        decision = self.decide(None, self.alive(None), now=NOW)
        assert isinstance(decision, Create)
        seen = node.view_manifest("web1", decision.manifest)
        assert seen.owner == self.row.name
        assert seen.is_ready
        assert seen.ready is not None
        assert seen.ready.reason in self.row.reasons
        assert decision.transition.number == 1

    def test_a_machine_that_is_not_known_gets_no_node_for_being_gone(self) -> None:
        """What ends nothing begins nothing."""
        assert all(isinstance(self.decide(None, each, now=NOW), Keep) for each in self.others(self.made()))

    def test_said_again_it_is_no_transition(self) -> None:
        """A refresh may be written; nothing has happened."""
        current = self.made()
        decision = self.decide(current, self.alive(current), now=LATER)
        assert isinstance(decision, Keep | Update)
        if isinstance(decision, Update):
            assert decision.transition is None
            assert _moved_at(decision.manifest) == _moved_at(current)

    def test_what_it_concludes_has_a_reason_of_its_row_and_moves_ready_once(self) -> None:
        """The transition time of Ready moves with its status, and at no other time."""
        current = self.made()
        for each in self.others(current):
            decision = self.decide(current, each, now=LATER)
            if isinstance(decision, Delete):
                continue
            assert isinstance(decision, Update), each
            before, after = (node.condition(manifest, node.READY) for manifest in (current, decision.manifest))
            assert before is not None
            assert after is not None
            assert after.reason in self.row.reasons
            assert (after.transition != before.transition) == (after.status != before.status)

    def test_what_it_was_given_is_not_changed(self) -> None:
        """The cache shows the same manifest to others."""
        current = self.made()
        kept = copy.deepcopy(current)
        for each in (self.alive(current), *self.others(current)):
            self.decide(current, each, now=LATER)
            assert current == kept

    def test_a_controllers_node_is_left_alone(self) -> None:
        """Whether it never was this source's, or a controller has taken it over."""
        unlabelled, taken, reported = (self.made() for _ in range(3))
        del unlabelled["metadata"]["labels"][self.row.managed_label]
        taken["status"]["conditions"] = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
        reported["status"].setdefault("nodeInfo", {})["kubeletVersion"] = "v1.31.0"
        for current in (unlabelled, taken, reported):
            for each in (self.alive(current), *self.others(current)):
                decision = self.decide(current, each, now=LATER)
                assert isinstance(decision, Keep), each
                assert decision.foreign

    def test_what_it_does_not_know_survives(self) -> None:
        """Labels, annotations, taints, conditions and fields of people and programs."""
        current = self.made()
        current["metadata"]["labels"]["rack"] = "7"
        current["metadata"]["annotations"]["note"] = "mine"
        current["spec"]["taints"] = [{"key": "gpu", "effect": "NoSchedule"}]
        current["status"]["conditions"].append({"type": "DiskPressure", "status": "False"})
        current["status"]["volumesInUse"] = ["a"]
        for each in (self.alive(current), *self.others(current)):
            decision = self.decide(current, each, now=LATER)
            if not isinstance(decision, Update):
                continue
            wanted = decision.manifest
            assert wanted["metadata"]["labels"]["rack"] == "7"
            assert wanted["metadata"]["annotations"]["note"] == "mine"
            assert wanted["spec"]["taints"] == current["spec"]["taints"]
            assert {"type": "DiskPressure", "status": "False"} in wanted["status"]["conditions"]
            assert wanted["status"]["volumesInUse"] == ["a"]


def _moved_at(manifest: Manifest) -> str:
    found = node.condition(manifest, node.READY)
    return found.transition if found else ""
