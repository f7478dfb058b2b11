"""The same requests, told the same: what a real kube-apiserver 1.37 answered is in `answers.json`, recorded by `recording`."""

import json
from typing import Any, Final

import pytest

from k3.core.objects import NODE, Manifest
from k3.server.schema import bodies, defaults, types, validation
from k3.server.status import Refused
from tests.server.schema.cases import CASES, Case
from tests.server.schema.recording import FILE, Recorder, compared
from tests.servers.kube_apiserver import TOKEN, kube_apiserver

ANSWERS: Final[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))


def answered(case: Case) -> dict[str, Any]:
    body = (case.body if isinstance(case.body, str) else json.dumps(case.body)).encode()
    try:
        found = bodies.decode(case.kind, body, case.content_type, field_validation=case.validation)
        written(case, found.manifest)
    except Refused as refusal:
        return compared(refusal.code, refusal.status())
    told = [*found.warnings, *validation.warnings(case.kind, found.manifest)]
    answer = compared(201 if case.old is None else 200, found.manifest)
    return answer | ({"warnings": ["299 - " + json.dumps(each) for each in told]} if told else {})


def written(case: Case, manifest: Manifest) -> None:
    """What the server does with a body before it is stored."""
    if case.kind.namespaced:
        manifest["metadata"].setdefault("namespace", "default")
    defaults.apply(case.kind, manifest)
    if case.old is None:
        validation.check_new(case.kind, manifest)
        return
    old = types.normalised(case.kind, case.old)
    if case.kind.namespaced:
        old["metadata"].setdefault("namespace", "default")
    manifest["metadata"].pop("generation", None)
    if case.kind == NODE:
        kept = "spec" if case.subresource else "status"
        manifest[kept] = old[kept]
    validation.check_conditional(case.kind, manifest)
    validation.check_update(case.kind, manifest, old, case.subresource)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_answer_is_that_of_a_kube_apiserver(case: Case) -> None:
    assert answered(case) == ANSWERS[case.name]


def test_every_case_was_recorded() -> None:
    assert list(ANSWERS) == list(CASES)


@pytest.mark.slow
@pytest.mark.servers("etcd")
def test_a_real_kube_apiserver_still_answers_so() -> None:
    with kube_apiserver() as server:
        assert Recorder(f"https://{server.address}:{server.port}", TOKEN).answers() == ANSWERS
