"""What a stored document may be, said once, for every backend, reader and writer. Pure.

A document is a JSON object (RFC 8259) in UTF-8, of finite numbers, whole ones of 64 bits (from -2^63 to 2^64-1), nested at most
`limits.DOCUMENT_DEPTH` deep; its metadata is an object, and the labels and annotations in that are texts by name. What other
programs put under a key that is none of this is there, and cannot be read: readers show it as that, agents leave it alone.
"""

import json
import math
import re
from typing import Any, Final

from k3.core import limits

Manifest = dict[str, Any]
"""A Kubernetes object as JSON has it."""

UNREADABLE: Final = "Unreadable"
"""The reason in the Ready condition of a Node whose document cannot be read."""

_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_INTEGER_DIGITS: Final = 20
"""As many as a number of 64 bits has, with its sign."""
_MAY_BE_LONG: Final = re.compile(rb"[0-9]{19}")
_TOO_DEEP: Final = f"nested more than {limits.DOCUMENT_DEPTH} deep"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = f"the number {text[:20]} is too large"
        raise ValueError(msg)
    return number


def _whole(text: str) -> int:
    if len(text) > _INTEGER_DIGITS:
        msg = f"a whole number has {len(text)} digits"
        raise ValueError(msg)
    number = int(text)
    if not -(2**63) <= number < 2**64:
        msg = f"the whole number {text} has more than 64 bits"
        raise ValueError(msg)
    return number


def _refuse(constant: str) -> None:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)  # Python's json takes NaN and Infinity, which are no JSON (RFC 8259 section 6)


DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_int=_whole, parse_constant=_refuse)
"""Parses JSON as RFC 8259 has it; raises ValueError, and RecursionError where it is very deep."""


def encode(manifest: Manifest) -> bytes:
    """Returns a manifest as compact JSON in UTF-8. Raises ValueError for what it may not have, TypeError, RecursionError."""
    text = _COMPACT.encode(manifest)
    try:
        document = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, written by another program: only an escape can say it
        document = json.dumps(manifest, separators=(",", ":"), allow_nan=False).encode()
    _check_depth(manifest, document)
    _check_metadata(manifest)
    if _MAY_BE_LONG.search(document):  # a number, or only digits in a text: reading it tells
        decode(document)
    return document


def decode(document: bytes) -> Manifest:
    """Returns a document as a manifest. Raises ValueError, which says in a few words what is wrong with it."""
    if not document:
        msg = "it is empty"
        raise ValueError(msg)
    try:
        manifest = DECODER.decode(document.decode())
    except UnicodeDecodeError as odd:
        msg = f"not UTF-8 at byte {odd.start}"
        raise ValueError(msg) from odd
    except json.JSONDecodeError as odd:
        msg = f"not JSON at byte {odd.pos}: {odd.msg}"
        raise ValueError(msg) from odd
    except RecursionError as odd:
        raise ValueError(_TOO_DEEP) from odd
    if not isinstance(manifest, dict):
        msg = f"not an object but {_kind(manifest)}"
        raise ValueError(msg)  # noqa: TRY004 - one error for every unreadable document
    _check_depth(manifest, document)
    _check_metadata(manifest)
    return manifest


def why_unreadable(document: bytes) -> str:
    """Returns why a document cannot be read; empty where it can."""
    try:
        decode(document)
    except ValueError as odd:
        return str(odd)
    return ""


def stand_in(why: str) -> Manifest:
    """Returns what is shown in place of a Node that cannot be read: one that belongs to no source, and whose Ready says why."""
    message = f"this object cannot be read: {why}"
    return {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": UNREADABLE, "message": message}]}}


def same_json(one: Manifest, other: Manifest) -> bool:
    """Returns whether both are the same JSON; Python alone takes 1, 1.0 and true for equals."""
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _check_depth(manifest: Manifest, document: bytes) -> None:
    if is_too_deep(manifest, document.count(b"{") + document.count(b"[")):
        raise ValueError(_TOO_DEEP)


def is_too_deep(document: object, brackets: int) -> bool:
    """Whether parsed JSON is nested deeper than it may be. Most has fewer opening brackets than that, and needs no look."""
    if brackets <= limits.DOCUMENT_DEPTH:
        return False
    level: list[Any] = [document]
    for _ in range(limits.DOCUMENT_DEPTH):
        deeper: list[Any] = []
        for part in level:
            for each in part.values() if type(part) is dict else part:
                if type(each) is dict or type(each) is list:  # as json makes them; a third of the time that isinstance takes
                    deeper.append(each)  # noqa: PERF401 - so does a loop here
        if not deeper:
            return False
        level = deeper
    return True


def _check_metadata(manifest: Manifest) -> None:
    metadata = manifest.get("metadata")
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        msg = f"its metadata is not an object but {_kind(metadata)}"
        raise ValueError(msg)  # noqa: TRY004 - as above
    for name in ("labels", "annotations"):
        texts = metadata.get(name)
        if texts is None:
            continue
        if not isinstance(texts, dict):
            msg = f"its {name} are not an object but {_kind(texts)}"
            raise ValueError(msg)  # noqa: TRY004 - as above
        for key, text in texts.items():
            if not isinstance(text, str):
                msg = f"of its {name}, {key[:80]!r} is not a text but {_kind(text)}"
                raise ValueError(msg)  # noqa: TRY004 - as above


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return {list: "a list", str: "a text", int: "a number", float: "a number", dict: "an object"}[type(value)]
