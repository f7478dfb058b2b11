"""Inputs that get deep into a parser: something valid with one thing odd, or with bytes bent.

In JSON a text `@1e999@` stands for the bare token between the signs, for what Python would not write.
"""

import copy
import json
import re
from typing import Any, Final

from hypothesis import strategies as st

_BARE: Final = re.compile(rb'"@([^"@]*)@"')

WORDS: Final = st.sampled_from(
    [
        "",
        " ",
        "a",
        "0",
        "-1",
        "1.5",
        "True",
        "null",
        "\n",
        "\0",
        "\x1b[31m",
        "\u202e",
        "\u212a",
        "\u0661",
        "\u00e4" * 300,
        "x" * 5_000,
        "9" * 400,
        "1s" + "1" * 3_000,
        "1e999",
        "../../etc/passwd",
        "a/b",
        "a,b",
        "fe80::1%eth0",
        "fe80::%x,y/64",
        "::ffff:10.0.0.1",
        "10.0.0.1/33",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-11-27T00:00:00",
    ]
)
"""Texts that mean something somewhere, or should mean nothing anywhere."""
NUMBERS: Final = st.sampled_from([0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**19, -(10**19), 0.5, -0.0, 1e308])
BARE: Final = st.sampled_from(
    ["1e999", "-1e999", "NaN", "Infinity", "1" * 5_000, "01", "0x10", "1E400", "-", "[" * 120 + "]" * 120, '"\\ud800"', "{"]
).map(lambda token: f"@{token}@")
JSON: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
ODD: Final[st.SearchStrategy[Any]] = st.none() | st.booleans() | NUMBERS | WORDS | BARE | st.just([]) | st.just({}) | JSON

Path = tuple[Any, ...]


def paths(document: Any) -> list[Path]:
    """Returns the way to every value in a document, but not to the document."""
    if isinstance(document, dict):
        inner = list(document.items())
    else:
        inner = list(enumerate(document)) if isinstance(document, list) else []
    return [(key, *rest) for key, value in inner for rest in [(), *paths(value)]]


@st.composite
def odd(draw: st.DrawFn, document: Any) -> Any:
    """Returns a document with one thing odd, sometimes with two or three; now and then as it is."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, 0]))):
        ways = paths(made)
        if not ways:
            return draw(ODD)
        *before, last = draw(st.sampled_from(ways))
        part = made
        for key in before:
            part = part[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "double"])):
            case "replace":
                part[last] = draw(ODD)
            case "remove":
                del part[last]
            case "add" if isinstance(part, dict):
                part[draw(WORDS)] = draw(ODD)
            case "double" if isinstance(part, list):
                part.append(copy.deepcopy(part[last]))
            case _:
                part[last] = [part[last]]
    return made


def encoded(document: Any) -> bytes:
    """Returns JSON, with the bare tokens in it as they are."""
    return _BARE.sub(lambda found: json.loads(found[0])[1:-1].encode(), json.dumps(document).encode())


@st.composite
def bent(draw: st.DrawFn, data: bytes) -> bytes:
    """Returns bytes of which some are lost, changed, added or there twice."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 8)))
        more = draw(st.binary(max_size=4) | st.sampled_from([b"\0", b"\xff", b"\r\n", b"\xc0\x0c", b"9" * 50]))
        data = draw(st.sampled_from([data[:at], data[:at] + data[to:], data[:at] + more + data[to:], data[:to] + data[at:]]))
    return data


def documents(*good: Any) -> st.SearchStrategy[bytes]:
    """Gives JSON documents: good ones with one thing odd, with bytes bent, and any JSON."""
    each = st.sampled_from(good)
    return st.one_of(
        each.flatmap(odd).map(encoded),
        each.flatmap(odd).map(encoded),
        each.map(encoded).flatmap(bent),
        JSON.map(encoded),
        st.binary(max_size=40),
    )


def texts(*good: str, alphabet: str) -> st.SearchStrategy[bytes]:
    """Gives texts that people write: good ones with something bent, some of an alphabet, and odd words."""
    plain = st.sampled_from([text.encode() for text in good])
    return st.one_of(
        plain,
        plain.flatmap(bent),
        st.lists(st.sampled_from([*good, *alphabet]), max_size=12).map(lambda parts: "".join(parts).encode()),
        st.text(alphabet=alphabet, max_size=40).map(str.encode),
        st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
        WORDS.map(str.encode),
    )
