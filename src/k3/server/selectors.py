"""Which objects a client wants to see: labels as in `kubectl -l`, and a few fields of each kind. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from k3.core.errors import Invalid
from k3.core.objects import EVENT, NODE, Kind, Manifest
from k3.server.entries import Entry
from k3.server.resources import POD
from k3.server.status import bad_request
from k3.view.cells import part
from k3.view.selector import Selector, parse_selector

_METADATA: Final = ("metadata.name", "metadata.namespace")
_INVOLVED: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    NODE: ("spec.unschedulable",),
    EVENT: (*(f"involvedObject.{each}" for each in _INVOLVED), "reason", "reportingComponent", "source", "type"),
    POD: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
}
"""The fields that a kind may be selected by, besides its name and namespace."""


_ALL: Final = Selector()


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field."""

    field: str
    value: str
    is_equal: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """What a client wants of a kind: both must hold."""

    labels: Selector = _ALL
    fields: tuple[FieldTerm, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.labels.terms and not self.fields

    @property
    def name(self) -> str:
        """Returns the one name that is wanted; empty: not only one."""
        return next((term.value for term in self.fields if term.field == "metadata.name" and term.is_equal), "")

    def matches(self, entry: Entry) -> bool:
        """Whether the client wants this object."""
        if self.labels.terms and not self.labels.matches(entry.labels):
            return False
        return not self.fields or self._fields_match(entry)

    def _fields_match(self, entry: Entry) -> bool:
        manifest: Manifest | None = None
        for term in self.fields:
            if term.field == "metadata.name":
                found = entry.key.name
            elif term.field == "metadata.namespace":
                found = entry.key.namespace
            else:
                manifest = entry.manifest() if manifest is None else manifest
                found = _field(manifest, term.field)
            if (found == term.value) != term.is_equal:
                return False
        return True


def selection(kind: Kind, labels: str, fields: str) -> Selection:
    """Returns what a client wants of a kind. Raises Refused."""
    try:
        chosen = parse_selector(labels)
    except Invalid as odd:
        message = f"unable to parse requirement: {odd}"
        raise bad_request(message) from odd
    return Selection(chosen, tuple(_field_term(kind, term) for term in _terms(fields)))


def _terms(text: str) -> list[str]:
    """Returns the terms between commas; a backslash has the next character stand for itself."""
    terms, term, escaped = [], "", False
    for character in text:
        if escaped or character not in {"\\", ","}:
            term += ("\\" if escaped and character not in "\\,=" else "") + character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            terms.append(term)
            term = ""
    return [each for each in [*terms, term] if each]


def _field_term(kind: Kind, text: str) -> FieldTerm:
    for operator in ("!=", "==", "="):
        field, found, value = text.partition(operator)
        if found:
            break
    else:
        message = f"invalid selector: '{text}'; can't understand '{text}'"
        raise bad_request(message)
    if field not in (*_METADATA, *FIELDS.get(kind, ())):
        message = f"field label not supported: {field}"
        raise bad_request(message)
    if field == "spec.unschedulable" and not value:
        value = "false"
    return FieldTerm(field, value, is_equal=operator != "!=")


def _source(manifest: Manifest) -> str:
    return _text(part(manifest, "source").get("component")) or _text(manifest.get("reportingComponent"))


_SPECIAL: Final[Mapping[str, Callable[[Manifest], str]]] = {
    "spec.unschedulable": lambda manifest: "true" if part(manifest, "spec").get("unschedulable") is True else "false",
    "source": _source,
}


def _field(manifest: Manifest, field: str) -> str:
    if (special := _SPECIAL.get(field)) is not None:
        return special(manifest)
    *path, last = field.split(".")
    return _text(part(manifest, *path).get(last))


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return value if isinstance(value, str) else ""
