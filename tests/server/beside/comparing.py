"""What is compared of answers: all but what each server makes of its own, which is told apart by its first appearance."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from tests.server.beside.asking import Answer

_TIMES: Final = ("creationTimestamp", "deletionTimestamp")
_MANAGER: Final = ("operation", "subresource", "manager")
_AGE: Final = re.compile(r"^\d+[smhdy](\d+[smhdy])?$")
_HEX: Final = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_CURRENT: Final = re.compile(r"(Too large resource version: \d+, current: )\d+")
_TOO_OLD: Final = re.compile(r"(too old resource version: \d+ )\(\d+\)")
_IN_RECORD: Final = re.compile(r"(does not match the ResourceVersion in record \()\d+")
_GENERATED: Final = re.compile(r"\b(made-|MADE-)[bcdfghjklmnpqrstvwxz2456789]{5}\b")
_PATCHED: Final = re.compile(r'((?:^|patch: )Invalid value: ")\{(?:[^"\\]|\\.)*(": )')
"""What a patch has made, as the message of its refusal has it: with times, and in an order that means nothing."""
_WRITTEN_AT: Final = re.compile(r'("time":")[-0-9T:]+Z')
_LONG: Final = re.compile(r"([a-z])\1{999,}")
_GIVEN: Final = re.compile(r"((?:Available representations|only the following media types are accepted): )[-+a-z0-9.;=/, ]+")
"""k3 answers in JSON alone, and says so where it refuses another form."""
_ADDRESS: Final = re.compile(r"\b\d+\.\d+\.\d+\.\d+:\d+\b")


class Names:
    """The symbols of one scene: `<uid 1>`, `<revision 2>`, in the order in which they appear."""

    def __init__(self) -> None:
        self._uids: dict[str, str] = {}
        self._revisions: dict[str, str] = {}

    def answer(self, came: Answer) -> dict[str, Any]:
        """Returns what is compared of one answer."""
        found: dict[str, Any] = {"status": came.status}
        if came.headers:
            found["headers"] = {name: [self._text(each) for each in values] for name, values in came.headers.items()}
        return {**found, "body": self._body(came.body)}

    def _body(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._member(name, each, value) for name, each in value.items()}
        if isinstance(value, list):
            return [self._body(each) for each in value]
        return self._text(value) if isinstance(value, str) else value

    def _member(self, name: str, value: Any, whole: dict[str, Any]) -> Any:
        if name == "metadata" and isinstance(value, dict) and _is_list(whole):
            return {key: f"<{key}>" if key in {"resourceVersion", "continue"} else each for key, each in value.items()}
        if (name in _TIMES and isinstance(value, str)) or (name == "time" and "manager" in whole):
            return "<time>"
        if name == "resourceVersion" and isinstance(value, str):
            return self._revision(value) if "uid" in whole else "<resourceVersion>"
        found = self._body(value)
        if name == "managedFields" and isinstance(found, list):  # by time first, of which a scene may cross a second or not
            found = sorted(found, key=lambda each: [str(each.get(part)) for part in _MANAGER])
        elif name == "cells" and isinstance(found, list):
            found = [_AGE.sub("<age>", each) if isinstance(each, str) else each for each in found]
        return found

    def _revision(self, text: str) -> str:
        return self._revisions.setdefault(text, f"<revision {len(self._revisions) + 1}>")

    def _text(self, text: str) -> str:
        text = _LONG.sub(lambda match: f"<{len(match[0])} times {match[1]}>", text)
        text = _HEX.sub(lambda match: self._uids.setdefault(match[0], f"<uid {len(self._uids) + 1}>"), text)
        text = _CURRENT.sub(r"\1<newest>", text)
        text = _TOO_OLD.sub(r"\1(<oldest>)", text)
        text = _IN_RECORD.sub(r"\1<newest>", text)
        text = _PATCHED.sub(r"\1<object>\2", text)
        text = _WRITTEN_AT.sub(r"\1<time>", text)
        text = _GIVEN.sub(r"\1<media types>", text)
        text = _ADDRESS.sub("<address>", text)
        return _GENERATED.sub(r"\1<5>", text)


def _is_list(whole: dict[str, Any]) -> bool:
    return "items" in whole or "rows" in whole


def compared(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Returns what is compared of a scene's answers."""
    names = Names()
    return [names.answer(each) for each in answers]


def kept(answers: dict[str, list[dict[str, Any]]]) -> str:
    """Returns recorded answers as a file has them: one a line, so that a change shows what has changed."""
    lines: list[str] = []
    for name, found in answers.items():
        told = ",\n".join("  " + json.dumps(each, sort_keys=True, ensure_ascii=False) for each in found)
        lines.append(f"{json.dumps(name)}: [\n{told}\n]")
    return "{\n" + ",\n".join(lines) + "\n}\n"
