"""Kubernetes' rules for a Lease (`pkg/apis/coordination/validation`). Pure."""

from typing import Final

from k3.core import name_rules
from k3.core.objects import Manifest
from k3.server.schema.complaints import Complaints

_STRATEGIES: Final = ("OldestEmulationVersion",)


def check(found: Complaints, lease: Manifest) -> None:
    """Notes what is wrong with a Lease, new or changed, beside its metadata."""
    spec = lease["spec"]
    duration, transitions = spec.get("leaseDurationSeconds", 1), spec.get("leaseTransitions", 0)
    if duration <= 0:
        found.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    if transitions < 0:
        found.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
    strategy = spec.get("strategy")
    if strategy is not None:
        where = "spec.strategy.strategy"  # so Kubernetes names it
        if "/" in strategy:
            found.each_invalid(where, strategy, name_rules.label_key(strategy))
        elif strategy not in _STRATEGIES:
            found.not_supported(where, strategy, _STRATEGIES)
    if spec.get("preferredHolder") and not strategy:
        found.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")
