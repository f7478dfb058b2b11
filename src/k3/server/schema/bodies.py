"""Request bodies: JSON, YAML or protobuf into a manifest of the kind that the path names, refused in Kubernetes' words."""

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

from k3.core.objects import Kind, Manifest
from k3.core.records import dataclass
from k3.core.safe_text import quoted
from k3.server import status
from k3.server.schema import json_text, protobuf, types
from k3.server.schema.kinds import DELETE_OPTIONS
from k3.server.schema.models import names
from k3.server.schema.places import cannot
from k3.server.schema.shapes import Mistyped, Told

FieldValidation: TypeAlias = Literal["Strict", "Warn", "Ignore"]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
TAKEN: Final = (JSON, YAML, PROTOBUF)
_SUMMARY_BYTES: Final = 30
_HEAD: Final = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_JSON_ERROR: Final = "couldn't get version/kind; json parse error: "
_SCHEME: Final = "pkg/runtime/scheme.go:111"
"""Where Kubernetes 1.37 registers its kinds: its messages say so."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request sends: `warnings` are the texts of Warning headers."""

    manifest: Manifest
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Text:
    """A body as JSON has it, and what is odd in how it was written."""

    value: Any
    odd: tuple[str, ...] = ()


class _Unrecognized(ValueError):
    """A body whose kind cannot be told."""


def decode(kind: Kind, body: bytes, content_type: str, *, field_validation: FieldValidation = "Strict") -> Body:
    """Returns the manifest in a body, in the form that Go writes. Raises Refused: 400, or 415 for another format."""
    media = media_type(content_type)
    try:
        if media == PROTOBUF:
            return Body(_of_protobuf(kind, body))
        told = Told()
        text = _text(media, body)
        manifest = _typed(kind, text.value, told)
    except _Unrecognized as odd:
        raise _bad(
            kind, f"the object provided is unrecognized (must be of type {kind.name}): {odd} ({_summary(body)})", odd
        ) from odd
    found = [*text.odd, *(f"{what} {quoted(at)}" for what, at in told.strict)]
    if found and field_validation == "Strict" and kind != DELETE_OPTIONS:
        raise status.bad_request(_handled(kind, kind.name, kind.version, f"strict decoding error: {', '.join(found)}"))
    return Body(manifest, tuple(_lines(found)) if field_validation == "Warn" else ())


def media_type(content_type: str) -> str:
    """Returns the format that a Content-Type names; one that is absent is JSON. Raises Refused (415)."""
    media, *parameters = (each.strip() for each in content_type.split(";"))
    media = media.lower() or JSON
    if media not in TAKEN or any("=" not in each for each in parameters if each):
        accepted = ", ".join(TAKEN)
        msg = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise status.unsupported_media_type(msg)
    return media


def _text(media: str, body: bytes) -> _Text:
    try:
        if media == JSON:
            return _Text(json_text.parsed(body))
    except json_text.NotJson as odd:
        raise _Unrecognized(_JSON_ERROR + str(odd)) from odd
    from k3.server.schema import yaml_text  # noqa: PLC0415 - loading PyYAML takes long, and few clients send any

    try:
        found = yaml_text.parsed(body)
    except yaml_text.NotYaml as odd:
        raise _Unrecognized(str(odd)) from odd
    doubled = "\n  ".join(("yaml: unmarshal errors:", *found.doubled))
    return _Text(found.value, (doubled,) if found.doubled else ())


def _of_protobuf(kind: Kind, body: bytes) -> Manifest:
    """Returns the manifest in a protobuf body; what it does not know there is no error, however strict the client."""
    try:
        found = protobuf.envelope(body)
    except protobuf.NotProtobuf as odd:
        raise _Unrecognized(str(odd)) from odd
    _check_kind(kind, found.version or _unsaid(kind), found.kind or kind.name)
    try:
        return types.read(kind, protobuf.message(types.of_kind(kind), found.message), Told())
    except (protobuf.NotProtobuf, Mistyped) as odd:
        raise _bad(kind, _handled(kind, kind.name, kind.version, str(odd)), odd) from odd


def _typed(kind: Kind, value: Any, told: Told) -> Manifest:  # noqa: ANN401 - JSON
    """Returns the manifest that a value stands for. Raises Refused, and _Unrecognized where it names no kind."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise _Unrecognized(_JSON_ERROR + cannot(value, None, _HEAD))
    version, name = (_head(value, word) for word in ("apiVersion", "kind"))
    if version.count("/") > 1:
        msg = f"unexpected GroupVersion string: {version}"
        raise _Unrecognized(msg)
    _check_kind(kind, version or _unsaid(kind), name or kind.name)
    try:
        return types.read(kind, value, told)
    except Mistyped as odd:
        raise _bad(kind, _handled(kind, kind.name, kind.version, str(odd)), odd) from odd


def _head(value: Manifest, word: str) -> str:
    """Returns the apiVersion or the kind that a body names, in whatever case: so Go reads these two."""
    found = value.get(word)
    if found is None and word not in value and len(value) < _HEAD_KEYS:
        found = next((each for key, each in value.items() if key.lower() == word.lower()), None)
    if found is None:
        return ""
    if type(found) is not str:
        raise _Unrecognized(_JSON_ERROR + cannot(found, (None, f".{word}", ""), "string"))
    return found


_HEAD_KEYS: Final = 64


def _unsaid(kind: Kind) -> str:
    """Returns the version of a body that names none."""
    return "meta.k8s.io/v1" if kind == DELETE_OPTIONS else kind.api_version


def _check_kind(kind: Kind, version: str, name: str) -> None:
    """Refuses a body of another kind than the path's."""
    if kind == DELETE_OPTIONS:
        if name == kind.name:  # clients of any group send them as their own
            return
        raise status.bad_request(_unregistered(name, version))
    why = other_kind(kind, version, name)
    if not why:
        return
    if name == kind.name and not why.startswith("no kind"):
        msg = f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        raise status.bad_request(msg)
    raise status.bad_request(_handled(kind, name, version.rpartition("/")[2], why))


def other_kind(kind: Kind, version: str, name: str) -> str:
    """Returns why an object that says it is of a kind is not of the one that is wanted; empty: it is."""
    if (version, name) == (kind.api_version, kind.name):
        return ""
    group, _, number = version.rpartition("/")
    module = f"{group.removesuffix('.k8s.io').replace('.', '') or 'core'}_{number}"
    if name not in names(module) and name not in _EVERYWHERE:
        return _unregistered(name, version)
    return f"converting ({number}.{name}) to ({types.of_kind(kind).partition('_')[0]}.{kind.name}): unknown conversion"


def _unregistered(name: str, version: str) -> str:
    return f'no kind {quoted(name)} is registered for version {quoted(version)} in scheme "{_SCHEME}"'


_EVERYWHERE: Final = {"Status"}


def _handled(kind: Kind, name: str, version: str, why: str) -> str:
    if kind == DELETE_OPTIONS:
        return why
    return f"{name} in version {quoted(version)} cannot be handled as a {kind.name}: {why}"


def _bad(kind: Kind, message: str, odd: Exception) -> status.Refused:
    return status.bad_request(str(odd) if kind == DELETE_OPTIONS else message)


def _summary(body: bytes) -> str:
    """Returns the beginning of a body, as a message shows it."""
    if not body:
        return "<empty>"
    head = body[:_SUMMARY_BYTES]
    text = head.decode("utf-8", "replace") if body[:1] == b"{" else head.hex()
    return text if len(body) <= _SUMMARY_BYTES else f"{text} ..."


def _lines(found: Iterable[str]) -> Iterable[str]:
    """Yields the texts of warnings: of YAML's errors, each line is one."""
    for each in found:
        yield from (line.strip() for line in each.removeprefix("yaml: unmarshal errors:\n").split("\n"))
