"""Reads single values of what Consul answers, each against its type and bound. Pure.

Consul is fed by every holder of a token. A value that breaks a rule is refused, never mended; null is what Go writes for an
empty list or object. What a refusal costs is the caller's to say: the entry, the check, or the whole answer.
"""

from collections.abc import Mapping
from typing import Any

from k3.core import limits


class Refused(Exception):
    """A value breaks a rule; the text is the reason, and has nothing of the value in it."""


def mapping(value: object, reason: str) -> Mapping[str, Any]:
    """Returns an object, empty for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(reason)
    return value


def text(value: object, reason: str, *, most: int = limits.CONSUL_ELEMENT_BYTES) -> str:
    """Returns a text of so many characters at most, empty for null."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise Refused(reason)
    return value


def texts(value: object, reason: str) -> Mapping[str, str]:
    """Returns texts by name, none for null."""
    found = mapping(value, reason)
    if not all(isinstance(each, str) for each in found.values()):
        raise Refused(reason)
    return found


def items(value: object, reason: str) -> list[Any]:
    """Returns a list, empty for null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refused(reason)
    return value


def port(value: object, reason: str) -> int:
    """Returns a port; 0 for null and for 0, Consul's words for none."""
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= limits.PORT:
        raise Refused(reason)
    return value
