"""`/info` from a peer is anybody's text: it is what it should be, or it is refused."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k3.agent.info import Info, info_document, parse_info
from k3.core import limits
from k3.core.errors import Invalid
from k3.core.node import valid_name
from k3.core.observation import Facts

FACTS = Facts(
    node="web1",
    addresses=("10.0.0.1", "fd00::1"),
    port=7946,
    pid=4242,
    id="0" * 32,
    boot="1" * 16,
    hostname="web1",
    os="linux",
    arch="amd64",
    version="0.1.0",
    links=("10.0.0.0/24",),
    peer_ttl_seconds=90.0,
)
GOOD = info_document(FACTS, 12.5, "0b5e-store")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=8,
)


def parse(**changes: object) -> Info:
    return parse_info(json.dumps(GOOD | changes).encode())


def test_what_is_written_is_read_back() -> None:
    assert parse() == Info(facts=FACTS, uptime_seconds=12.5, store_id="0b5e-store")
    assert GOOD["peerTTL"] == "90s"


def test_the_time_is_read_back_to_the_millisecond() -> None:
    now = datetime(2026, 11, 27, 1, 2, 3, 456_000, tzinfo=UTC)
    assert parse_info(json.dumps(info_document(FACTS, 1.0, "", now=now)).encode()).time == now


def test_the_go_programs_document_is_enough() -> None:
    body = b'{"node":"go1","port":7946,"pid":7,"addrs":["10.0.0.7/24","fe80::1%eth0","127.0.0.1"]}'
    assert parse_info(body) == Info(facts=Facts(node="go1", addresses=("10.0.0.7",), port=7946, pid=7))
    assert parse_info(b'{"node":"go1","addrs":null}').facts == Facts(node="go1")


def test_fields_nobody_knows_are_ignored() -> None:
    assert parse(future={"deep": [1]}).facts == FACTS


@given(st.binary(max_size=600))
@example(b"")
@example(b"[" * 16_000)
@example(b'{"node":' * 2_000)
@example(b'{"node":"a","uptime":NaN}')
@example(b'{"node":"a","uptime":1e999}')
@example(b'{"node":"a","pid":' + b"9" * 10_000 + b"}")
@example(b'{"node":"\\ud800"}')
@example(b'\xef\xbb\xbf{"node":"a"}')
def test_any_bytes(body: bytes) -> None:
    try:
        said = parse_info(body)
    except Invalid:
        return
    assert valid_name(said.facts.node)
    assert math.isfinite(said.uptime_seconds)


@given(st.dictionaries(st.sampled_from([*GOOD, "time", "other"]), json_values))
def test_any_values(changes: dict[str, object]) -> None:
    try:
        said = parse_info(json.dumps(GOOD | changes).encode())
    except Invalid:
        return
    facts = said.facts
    assert valid_name(facts.node)
    assert 0 <= facts.port <= 65535
    assert 0 <= facts.pid < 2**31
    assert len(facts.addresses) <= limits.PEER_ADDRESSES
    assert len(facts.links) <= limits.LINKS
    assert 0 <= facts.peer_ttl_seconds < 1e9
    assert 0 <= said.uptime_seconds < 1e9
    text = "".join((facts.id, facts.boot, facts.os, facts.arch, facts.version, facts.hostname, said.store_id, *facts.links))
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node", ""),
        ("node", "Web1"),
        ("node", "a/b"),
        ("node", 7),
        ("node", None),
        ("node", "a" * 254),
        ("node", "a\n"),
        ("time", "yesterday"),
        ("time", "2026-11-27T00:00:00Z" + " " * 40),
        ("time", 1_700_000_000),
        ("port", -1),
        ("port", 65536),
        ("port", True),
        ("port", "7946"),
        ("port", 1.0),
        ("pid", 2**31),
        ("pid", -1),
        ("addrs", "10.0.0.1"),
        ("addrs", [1]),
        ("addrs", ["x"]),
        ("addrs", ["10.0.0.1"] * 65),
        ("addrs", ["10.0.0.1/33"]),
        ("id", "0" * 31),
        ("id", "G" * 32),
        ("id", 0),
        ("boot", "0"),
        ("boot", []),
        ("version", "1 2"),
        ("version", "\u0661"),
        ("os", "Linux!"),
        ("arch", "a" * 33),
        ("hostname", "<b>"),
        ("links", ["10.0.0.1/24"]),
        ("links", ["10.0.0.0/8"] * 33),
        ("peerTTL", "90"),
        ("peerTTL", "-1s"),
        ("peerTTL", "9" * 40 + "h"),
        ("peerTTL", "1e9s"),
        ("peerTTL", "0s"),
        ("peerTTL", 90),
        ("uptime", -1),
        ("uptime", True),
        ("uptime", "1"),
        ("uptime", 1000000000000.0),
        ("store", "a b"),
        ("store", "x" * 65),
        ("store", "\u202e"),
    ],
)
def test_refused_by_the_name_of_the_field_alone(field: str, value: object) -> None:
    with pytest.raises(Invalid, match=f"^/info: {field}: "):
        parse(**{field: value})


@pytest.mark.parametrize("field", [*GOOD])
def test_a_refusal_quotes_nothing(field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(**{field: "\x1b[31m hostile"})
    assert "hostile" not in str(caught.value)


def test_too_large_is_refused() -> None:
    with pytest.raises(Invalid, match="document"):
        parse(padding="x" * limits.INFO_BYTES)
