"""The options of a DELETE as its body says them, as kube-apiserver 1.37 answered the same."""

import pytest

from k3.server.schema import bodies
from k3.server.schema.kinds import DELETE_OPTIONS
from k3.server.status import Refused


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
    with pytest.raises(Refused) as refusal:
        bodies.decode(DELETE_OPTIONS, body, "")
    assert str(refusal.value) == message


def test_every_group_may_call_the_options_of_a_delete_its_own() -> None:
    for version in ("v1", "meta.k8s.io/v1", "coordination.k8s.io/v1", "foo/v1"):
        body = f'{{"kind":"DeleteOptions","apiVersion":"{version}"}}'.encode()
        assert bodies.decode(DELETE_OPTIONS, body, "").manifest["kind"] == "DeleteOptions"
