"""A JSON array in pieces: the same elements as when parsed whole, whatever the pieces, and a bad one costs itself alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core import limits
from k3.discovery.elements import NO_JSON, TOO_DEEP, TOO_LONG, Elements, NoList, Unreadable


def split(text: bytes, size: int = 7) -> list[object]:
    elements = Elements()
    found = [each for at in range(0, len(text), size) for each in elements.feed(text[at : at + size])]
    return [*found, *elements.feed(b"", is_last=True)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=6), st.integers(1, 40), st.booleans(), st.sampled_from([None, 2]))
def test_pieces_give_what_the_whole_gives(values: list[Any], size: int, escaped: bool, indent: int | None) -> None:
    text = json.dumps(values, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    assert split(text, size) == json.loads(text)


ODD = {
    "NaN": (b"NaN", NO_JSON),
    "minus infinity": (b"-Infinity", NO_JSON),
    "too large": (b'{"a":1e999}', NO_JSON),
    "long number": (b"1" * 5_000, NO_JSON),
    "a word": (b"nil", NO_JSON),
    "no value": (b'{"a":}', NO_JSON),
    "wrong bracket": (b'{"a":[1}}', NO_JSON),
    "control character": (b'"a\nb"', NO_JSON),
    "odd escape": (b'["\\x"]', NO_JSON),
    "deep": (b"[" * 400 + b"]" * 400, TOO_DEEP),
    "very deep": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, TOO_DEEP),
    "long text": (b'"' + b'\\"' * limits.CONSUL_ELEMENT_BYTES + b'"', TOO_LONG),
    "long list": (b"[" + b"[]," * (limits.CONSUL_ELEMENT_BYTES // 2) + b"[]]", TOO_LONG),
    "long list of lists": (b"[" + b"[[]]," * (limits.CONSUL_ELEMENT_BYTES // 4) + b"[]]", TOO_LONG),
}


@pytest.mark.parametrize("size", [1_000, 65_536])
@pytest.mark.parametrize("odd", ODD)
def test_a_bad_element_costs_itself_alone(odd: str, size: int) -> None:
    element, why = ODD[odd]
    text = b'[{"a":[1]}, ' + element + b' ,"]","\\\\"]'
    assert split(text, size) == [{"a": [1]}, Unreadable(why), "]", "\\"]


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"{}", b"null", b"1", b'"["', b"<html>", b"[", b"[1", b"[1,", b"[1,]", b"[,]", b"[1 2]", b"[}", b"[]x"),
        *(b"[][]", b"\xef\xbb\xbf[]", b"\xff\xfe[\x00]\x00", b"\x1f\x8b\x08[]", b'[{"a":1}', b'["a', b"[1}"),
    ],
)
def test_what_is_no_list_is_refused_whole(text: bytes) -> None:
    for size in (1, 7, 100):
        with pytest.raises(NoList):
            split(text, size)


def test_bytes_that_are_not_utf_8_are_in_no_text_that_can_be_shown() -> None:
    found = split(b'["a\xffb","\xe4\xb8\xad","\xed\xa0\x80"]', 1)
    assert [str(each).isprintable() for each in found] == [False, True, False]


def test_no_more_is_held_than_the_element_at_hand() -> None:
    elements = Elements()
    piece = b'["' + b"x" * 65_536
    for _ in range(64):
        assert not list(elements.feed(piece))
        piece = b"x" * 65_536
        assert len(elements._text) <= limits.CONSUL_ELEMENT_BYTES + 65_536
    assert list(elements.feed(b'"]')) == [Unreadable(TOO_LONG)]
