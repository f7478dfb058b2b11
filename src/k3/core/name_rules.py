"""Kubernetes' rules for names, keys and values, with the sentences of apimachinery about what breaks them. Pure."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from k3.core import limits

TextRule: TypeAlias = Callable[[str], list[str]]
"""Returns what is wrong with a text; nothing where it is as it should be."""

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_KEY: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = f"({_KEY})?"
_IS_LABEL: Final = re.compile(_LABEL)
_IS_KEY: Final = re.compile(_KEY)
_IS_VALUE: Final = re.compile(_VALUE)
_ALPHANUMERIC: Final = "and must start and end with an alphanumeric character"
_KEY_RULE: Final = (
    f"must consist of alphanumeric characters, '-', '_' or '.', {_ALPHANUMERIC} "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_KEY}')"
)


def _too_long(most: int, unit: str = "characters") -> str:
    return f"must be no more than {most} {unit}"


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _is_subdomain(text: str) -> bool:
    return all(_IS_LABEL.fullmatch(part) for part in text.split("."))


def subdomain(text: str, unit: str = "characters") -> list[str]:
    """A DNS subdomain (RFC 1123): names of Nodes and Leases. Kubernetes measures names in characters, prefixes in bytes."""
    found = [_too_long(limits.NAME_BYTES, unit)] if _size(text) > limits.NAME_BYTES else []
    if not _is_subdomain(text):
        found.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            f"{_ALPHANUMERIC} (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
        )
    return found


def label(text: str) -> list[str]:
    """A DNS label (RFC 1123): names of namespaces."""
    found = [_too_long(limits.LABEL_VALUE_BYTES)] if _size(text) > limits.LABEL_VALUE_BYTES else []
    if _IS_LABEL.fullmatch(text):
        return found
    if _is_subdomain(text):
        return [*found, "must not contain dots"]
    found.append(
        f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ALPHANUMERIC} "
        f"(e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
    )
    return found


def path_segment(text: str) -> list[str]:
    """What may stand in a path: names of Events."""
    if text in {".", ".."}:
        return [f"may not be '{text}'"]
    return [f"may not contain '{odd}'" for odd in "/%" if odd in text]


def any_prefix(rule: TextRule) -> TextRule:
    """Returns the rule for the beginning of a name that is generated: it may end with a dash."""
    return lambda text: rule(text[:-2] + "a" if len(text) > 1 and text.endswith("-") else text)


def label_key(text: str) -> list[str]:
    """A key of a label, an annotation or a taint, or a finalizer: a name, and before it a DNS subdomain and a slash."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return [f"a valid label key {_KEY_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    found: list[str] = []
    if slash:
        found = [f"prefix part {each}" for each in subdomain(prefix, "bytes")] if prefix else ["prefix part must be non-empty"]
    if not name:
        found.append("name part must be non-empty")
    elif _size(name) > limits.LABEL_VALUE_BYTES:
        found.append(f"name part {_too_long(limits.LABEL_VALUE_BYTES, 'bytes')}")
    if not _IS_KEY.fullmatch(name):
        found.append(f"name part {_KEY_RULE}")
    return found


def label_value(text: str) -> list[str]:
    """A value of a label or a taint."""
    found = [_too_long(limits.LABEL_VALUE_BYTES, "bytes")] if _size(text) > limits.LABEL_VALUE_BYTES else []
    if not _IS_VALUE.fullmatch(text):
        found.append(
            f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {_ALPHANUMERIC} "
            f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
        )
    return found
