"""Kubernetes' rules for the options of a write, in its query or in the body of a DELETE, and for reviews. Pure."""

from collections.abc import Sequence
from typing import Final

from k3.core.objects import Kind, Manifest
from k3.server import status
from k3.server.schema import metadata_rules
from k3.server.schema.complaints import Complaints
from k3.server.schema.kinds import SELF_SUBJECT_ACCESS_REVIEW, SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW

_META: Final = "meta.k8s.io"
_POLICIES: Final = ("Foreground", "Background", "Orphan")
_VALIDATIONS: Final = ("", "Ignore", "Strict", "Warn")
_BREAKING: Final = "ignoreStoreReadErrorWithClusterBreakingPotential"
_ONE_OF: Final = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


def check_write(name: str, *, dry_run: Sequence[str], manager: str, field_validation: str) -> None:
    """Raises Refused (422) for odd parameters of a write; `name` is `CreateOptions`, `UpdateOptions` or `PatchOptions`."""
    found = Complaints()
    metadata_rules.check_manager(found, "fieldManager", manager)
    _check_dry_run(found, dry_run)
    if field_validation not in _VALIDATIONS:
        found.not_supported("fieldValidation", field_validation, _VALIDATIONS)
    _refuse(_META, name, found)


def check_delete(options: Manifest) -> None:
    """Raises Refused (422) for odd options of a DELETE (`DeleteOptions`, in its canonical form)."""
    found = Complaints()
    policy = options.get("propagationPolicy")
    if policy is not None and "orphanDependents" in options:
        found.invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
    if policy is not None and policy not in _POLICIES:
        found.not_supported("propagationPolicy", policy, (*_POLICIES, "nil"))
    _check_dry_run(found, options.get("dryRun") or ())
    _check_breaking(found, options)
    _refuse(_META, "DeleteOptions", found)


def check_review(kind: Kind, review: Manifest) -> None:
    """Raises Refused (422, 400) for a review that asks nothing, or two things at once."""
    spec = review.get("spec") or {}
    if kind == TOKEN_REVIEW and not spec.get("token"):
        msg = "token is required for TokenReview in authentication"
        raise status.bad_request(msg)
    if kind not in {SELF_SUBJECT_ACCESS_REVIEW, SUBJECT_ACCESS_REVIEW}:
        return
    found = Complaints()
    if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
        asked = spec.get("nonResourceAttributes")
        shown = None if asked is None else {"Path": asked.get("path", ""), "Verb": asked.get("verb", "")}
        found.invalid("spec", shown, _ONE_OF)
    if kind == SUBJECT_ACCESS_REVIEW and not spec.get("user") and not spec.get("groups"):
        found.invalid("spec.user", "", "at least one of user or group must be specified")
    _refuse(kind.group, "", found)


def _check_dry_run(found: Complaints, dry_run: Sequence[str]) -> None:
    if any(each != "All" for each in dry_run):
        found.not_supported("dryRun", list(dry_run), ("All",))


def _check_breaking(found: Complaints, options: Manifest) -> None:
    """Kubernetes' way to remove what cannot be read takes no other option."""
    for name in ("propagationPolicy", "orphanDependents", "gracePeriodSeconds", "preconditions"):
        if options.get(_BREAKING) and name in options:
            found.invalid(_BREAKING, True, f"cannot be set together with .{name}")  # noqa: FBT003 - the value that was given


def _refuse(group: str, name: str, found: Complaints) -> None:
    if found.causes:
        kind = Kind(group=group, version="v1", name=name, plural="", namespaced=False)
        raise status.invalid(kind, "", tuple(found.causes))
