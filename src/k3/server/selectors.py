"""Which objects a client wants to see: labels as in `kubectl -l`, and a few fields of each kind. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from k3.core.errors import Invalid
from k3.core.objects import EVENT, NODE, Kind, Manifest
from k3.core.records import dataclass
from k3.core.safe_text import quoted
from k3.server.entries import Entry
from k3.server.resources import NAMESPACE, POD, SERVICE
from k3.server.status import bad_request
from k3.view.cells import part
from k3.view.selector import Selector, parse_selector

_METADATA: Final = ("metadata.name", "metadata.namespace")
_INVOLVED: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    NODE: ("spec.unschedulable",),
    EVENT: (*(f"involvedObject.{each}" for each in _INVOLVED), "reason", "reportingComponent", "source", "type"),
    NAMESPACE: ("status.phase",),
    SERVICE: ("spec.clusterIP", "spec.type"),
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

SUBJECTS: Final = ("involvedObject.name", "involvedObject.uid")
"""The fields that say what an Event is about: there is an index of them (`k3.server.subjects`)."""

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

    @property
    def subject(self) -> FieldTerm | None:
        """Returns the one thing that the objects are about; None: not only one, or those that say nothing of it."""
        return next((term for term in self.fields if term.field in SUBJECTS and term.is_equal and term.value), None)

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
                found = field_of(manifest, term.field)
            if (found == term.value) != term.is_equal:
                return False
        return True


def selection(kind: Kind, labels: str, fields: str) -> Selection:
    """Returns what a client wants of a kind. Raises Refused."""
    return Selection(_label_selector(labels), tuple(_field_term(kind, term, fields) for term in _terms(fields)))


def _label_selector(text: str) -> Selector:
    try:
        return parse_selector(text)
    except Invalid as error:
        raise bad_request(str(error)) from error


def _terms(text: str) -> list[str]:
    """Returns the terms between commas, as they were written; a comma behind a backslash parts nothing."""
    return [each for each in _TERM.findall(text) if each]


def _field_term(kind: Kind, text: str, whole: str) -> FieldTerm:
    found = _OPERATOR.search(text)
    if found is None:
        message = f"invalid selector: '{whole}'; can't understand '{text}'"
        raise bad_request(message)
    field, value = text[: found.start()], _unescaped(text[found.end() :])
    known = FIELDS.get(kind)
    if known is None and field not in _METADATA:
        message = f"{quoted(field)} is not a known field selector: only {', '.join(map(quoted, _METADATA))}"
        raise bad_request(message)
    common = _METADATA if kind.namespaced or known is None else _METADATA[:1]
    if field not in (*common, *(known or ())):
        message = f"field label not supported: {field}"
        raise bad_request(message)
    return FieldTerm(field, value, is_equal=found[0] != "!=")


def _unescaped(value: str) -> str:
    """Returns a value in which a backslash stands before each comma, equals sign and backslash. Raises Refused."""
    if odd := _ODD.search(_ESCAPED.sub("", value)):
        if odd[0][0] == "\\":
            message = f"invalid field selector: invalid escape sequence: {odd[0]}"
        else:
            message = f"invalid field selector: unescaped character in value: {ord(odd[0])}"
        raise bad_request(message)
    return _ESCAPED.sub(r"\1", value)


_TERM: Final = re.compile(r"(?:\\.|[^,\\]|\\$)+", re.DOTALL)
_OPERATOR: Final = re.compile(r"!=|==|=")
_ESCAPED: Final = re.compile(r"\\([\\,=])")
_ODD: Final = re.compile(r"\\.?|[,=]", re.DOTALL)


def _source(manifest: Manifest) -> str:
    return _text(part(manifest, "source").get("component")) or _text(manifest.get("reportingComponent"))


_SPECIAL: Final[Mapping[str, Callable[[Manifest], str]]] = {
    "spec.unschedulable": lambda manifest: "true" if part(manifest, "spec").get("unschedulable") is True else "false",
    "source": _source,
}


def field_of(manifest: Manifest, field: str) -> str:
    """Returns what selectors see of a field; an empty text where it is absent."""
    if (special := _SPECIAL.get(field)) is not None:
        return special(manifest)
    *path, last = field.split(".")
    return _text(part(manifest, *path).get(last))


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return value if isinstance(value, str) else ""
