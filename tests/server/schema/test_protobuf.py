"""Messages that Go wrote (k8s.io/api 1.37, `protobuf.json`) and messages that lie."""

import json
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

import pytest

from k3.core import limits
from k3.core.objects import LEASE, NODE, Kind
from k3.server.schema import bodies
from k3.server.schema.kinds import BODIES
from k3.server.schema.protobuf import PREFIX
from k3.server.status import Refused

WRITTEN: Final = json.loads((Path(__file__).parent / "protobuf.json").read_text(encoding="utf-8"))
KINDS: Final = {kind.name: kind for kind in BODIES}


def decoded(kind: Kind, body: bytes) -> Any:
    return bodies.decode(kind, body, bodies.PROTOBUF, field_validation="Strict").manifest


def refused(kind: Kind, body: bytes) -> str:
    with pytest.raises(Refused) as refusal:
        decoded(kind, body)
    assert refusal.value.code == 400
    return str(refusal.value)


@pytest.mark.parametrize("written", WRITTEN, ids=[f"{index} {each['kind']}" for index, each in enumerate(WRITTEN)])
def test_what_go_wrote_is_what_it_would_write_as_json(written: dict[str, Any]) -> None:
    assert decoded(KINDS[written["kind"]], b64decode(written["body"])) == written["object"]


@pytest.mark.parametrize("written", WRITTEN, ids=[f"{index} {each['kind']}" for index, each in enumerate(WRITTEN)])
def test_every_truncated_message_is_refused_or_read(written: dict[str, Any]) -> None:
    body = b64decode(written["body"])
    for length in range(len(body)):
        try:
            decoded(KINDS[written["kind"]], body[:length])
        except Refused as refusal:
            assert refusal.code == 400  # noqa: PT017 - some lengths are messages too


def enveloped(message: bytes) -> bytes:
    assert len(message) < 2**28
    length, size = bytearray(), len(message)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return PREFIX + b"\x12" + bytes(length) + message


HANDLED: Final = 'Node in version "v1" cannot be handled as a Node: '


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\x0a\x7f", "unexpected EOF"),
        (b"\x0a", "unexpected EOF"),
        (b"\xff" * 11, "proto: integer overflow"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "proto: negative length found during unmarshaling"),
        (b"\x0c", "proto: Node: wiretype end group for non-group"),
        (b"\x02\x00", "proto: Node: illegal tag 0 (wire type 2)"),
        (b"\x08\x00", "proto: wrong wireType = 0 for field ObjectMeta"),
        (b"\x7f", "proto: illegal wireType 7"),
        (b"\x7b" * 1_000, "unexpected EOF"),
        (b"\x7d\x00", "unexpected EOF"),
        (b"\x7b\x0e", "proto: illegal wireType 6"),
    ],
)
def test_a_message_that_lies_is_refused(message: bytes, why: str) -> None:
    assert refused(NODE, enveloped(message)) == HANDLED + why


def test_a_body_without_a_message() -> None:
    assert "empty data (<empty>)" in refused(NODE, b"")
    assert "expected prefix [107 56 115 0] ({})" in refused(NODE, b"{}")
    assert "empty body" in refused(NODE, PREFIX)
    assert 'Lease in version "v1" cannot be handled as a Node' in refused(NODE, b64decode(WRITTEN[3]["body"]))


def test_fields_that_are_not_known_are_skipped_and_groups_too() -> None:
    odd = b"\x7b\x08\x01\x7c" + b"\x78\x01" + b"\x7d0000" + b"\x7900000000" + b"\x7a\x01x"
    assert decoded(LEASE, enveloped(odd)) == decoded(LEASE, enveloped(b""))


def test_a_time_that_is_none_is_refused() -> None:
    late = b"\x12\x0e" + b"\x22\x0c" + b"\x08" + b"\xff" * 8 + b"\x7f" + b"\x10\x00"
    assert "year out of range" in refused(LEASE, enveloped(late))


def test_many_fields_cost_no_more_than_their_bound() -> None:
    began = time.thread_time()
    assert f"more than {limits.PROTOBUF_FIELDS} fields" in refused(NODE, enveloped(b"\x78\x00" * 1_500_000))
    assert f"more than {limits.PROTOBUF_FIELDS} fields" in refused(NODE, enveloped(b"\x7b" * 3_000_000))
    assert time.thread_time() - began < 5
