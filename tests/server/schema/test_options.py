"""Options of a write and reviews, as kube-apiserver 1.37 answered the same."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from k3.core.objects import NODE
from k3.server.schema import bodies, types
from k3.server.schema.kinds import (
    DELETE_OPTIONS,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REVIEW,
)
from k3.server.schema.option_rules import check_delete, check_review, check_write
from k3.server.status import Refused

ONE_OF: Final = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


def refused(check: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as refusal:
        check()
    return refusal.value


def write(**options: Any) -> None:
    check_write("CreateOptions", **({"dry_run": [], "manager": "", "field_validation": ""} | options))


def delete(**options: Any) -> None:
    check_delete(types.normalised(DELETE_OPTIONS, options))


def test_parameters_of_a_write() -> None:
    write(dry_run=["All"], manager="k" * 128, field_validation="Strict")
    assert str(refused(lambda: write(dry_run=["x"], manager="\0", field_validation="y"))) == (
        'CreateOptions.meta.k8s.io "" is invalid: ['
        'fieldManager: Invalid value: "\\x00": invalid character U+0000 (at position 0), '
        'dryRun: Unsupported value: ["x"]: supported values: "All", '
        'fieldValidation: Unsupported value: "y": supported values: "", "Ignore", "Strict", "Warn"]'
    )
    told = refused(lambda: write(manager="a" * 129))
    assert str(told) == 'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes'
    assert told.code == 422
    assert told.status()["details"] == {
        "group": "meta.k8s.io",
        "kind": "CreateOptions",
        "causes": [
            {"reason": "FieldValueTooLong", "message": "Too long: may not be more than 128 bytes", "field": "fieldManager"}
        ],
    }


BREAKING: Final = "ignoreStoreReadErrorWithClusterBreakingPotential"


def test_options_of_a_delete() -> None:
    delete(propagationPolicy="Background", gracePeriodSeconds=0, dryRun=["All"], preconditions={"uid": "u"})
    delete(orphanDependents=False)
    assert str(refused(lambda: delete(propagationPolicy="x", orphanDependents=True, dryRun=["x"], **{BREAKING: True}))) == (
        'DeleteOptions.meta.k8s.io "" is invalid: ['
        'propagationPolicy: Invalid value: "x": orphanDependents and deletionPropagation cannot be both set, '
        'propagationPolicy: Unsupported value: "x": supported values: "Foreground", "Background", "Orphan", "nil", '
        'dryRun: Unsupported value: ["x"]: supported values: "All", '
        f"{BREAKING}: Invalid value: true: cannot be set together with .propagationPolicy, "
        f"{BREAKING}: Invalid value: true: cannot be set together with .orphanDependents]"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"kind":"Node"}', 'no kind "Node" is registered for version "meta.k8s.io/v1" in scheme "pkg/runtime/scheme.go:111"'),
        (
            b'{"gracePeriodSeconds":"x"}',
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
    ],
)
def test_a_body_that_is_none_of_a_delete(body: bytes, message: str) -> None:
    assert str(refused(lambda: bodies.decode(DELETE_OPTIONS, body, ""))) == message


def test_every_group_may_call_the_options_of_a_delete_its_own() -> None:
    for version in ("v1", "meta.k8s.io/v1", "coordination.k8s.io/v1", "foo/v1"):
        body = f'{{"kind":"DeleteOptions","apiVersion":"{version}"}}'.encode()
        assert bodies.decode(DELETE_OPTIONS, body, "").manifest["kind"] == "DeleteOptions"


def test_reviews() -> None:
    check_review(SELF_SUBJECT_RULES_REVIEW, {"spec": {}})
    check_review(SELF_SUBJECT_ACCESS_REVIEW, {"spec": {"resourceAttributes": {"verb": "get"}}})
    check_review(NODE, {})
    assert (
        str(refused(lambda: check_review(TOKEN_REVIEW, {"spec": {}}))) == "token is required for TokenReview in authentication"
    )
    told = refused(lambda: check_review(SELF_SUBJECT_ACCESS_REVIEW, {"spec": {}}))
    assert str(told) == f'.authorization.k8s.io "" is invalid: spec: Invalid value: null: {ONE_OF}'
    assert "kind" not in told.status()["details"]
    both = {"spec": {"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {}}}
    assert str(refused(lambda: check_review(SELF_SUBJECT_ACCESS_REVIEW, both))) == (
        f'.authorization.k8s.io "" is invalid: spec: Invalid value: {{"Path":"","Verb":""}}: {ONE_OF}'
    )
    assert str(refused(lambda: check_review(SUBJECT_ACCESS_REVIEW, {"spec": {}}))) == (
        f'.authorization.k8s.io "" is invalid: [spec: Invalid value: null: {ONE_OF}, '
        'spec.user: Invalid value: "": at least one of user or group must be specified]'
    )
