"""What is wrong with an object, as Kubernetes lists it: one cause for each rule that a field breaks. Pure."""

import json
from collections.abc import Iterable
from dataclasses import field
from typing import Any

from k3.core import limits
from k3.core.records import dataclass
from k3.core.safe_text import quoted
from k3.server.status import Cause


@dataclass(slots=True)
class Complaints:
    """The causes that were found, in order. A field is named by its path: `metadata.labels`, `spec.taints[0].key`."""

    causes: dict[Cause, None] = field(default_factory=dict)
    """One that two rules find is told once."""

    @property
    def is_full(self) -> bool:
        """Whether no more are noted: a body of a few bytes for each would be answered with hundreds for each."""
        return len(self.causes) >= limits.CAUSES

    def invalid(self, where: str, value: Any, why: str) -> None:  # noqa: ANN401 - JSON
        """Notes a value that breaks a rule."""
        self._add("FieldValueInvalid", where, f"Invalid value: {_shown(value)}", why)

    def each_invalid(self, where: str, value: str, reasons: Iterable[str]) -> None:
        """Notes a text that breaks several rules."""
        for why in reasons:
            self.invalid(where, value, why)

    def required(self, where: str, why: str = "") -> None:
        """Notes a value that is missing."""
        self._add("FieldValueRequired", where, "Required value", why)

    def forbidden(self, where: str, why: str) -> None:
        """Notes a value that may not be there, or not be changed."""
        self._add("FieldValueForbidden", where, "Forbidden", why)

    def too_long(self, where: str, most: int) -> None:
        """Notes a value that has more bytes than it may."""
        self._add("FieldValueTooLong", where, "Too long", f"may not be more than {most} bytes")

    def duplicate(self, where: str, value: Any, why: str = "") -> None:  # noqa: ANN401 - JSON
        """Notes a value that is there twice."""
        self._add("FieldValueDuplicate", where, f"Duplicate value: {_shown(value)}", why)

    def not_supported(self, where: str, value: Any, values: Iterable[str]) -> None:  # noqa: ANN401 - JSON
        """Notes a value that is none of those there are."""
        told = "supported values: " + ", ".join(map(quoted, values))
        self._add("FieldValueNotSupported", where, f"Unsupported value: {_shown(value)}", told)

    def internal(self, where: str, why: str) -> None:
        """Notes what could not be checked."""
        self._add("InternalError", where, "Internal error", why)

    def _add(self, reason: str, where: str, message: str, why: str) -> None:
        if not self.is_full:
            self.causes[Cause(reason, f"{message}: {why}" if why else message, where)] = None


def _shown(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return quoted(value[: limits.SHOWN_CHARACTERS])
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = text[: limits.SHOWN_CHARACTERS]
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")  # as encoding/json does
