"""The four kinds of patches, by the media type of their body."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from k3.core import times
from k3.core.documents import DECODER
from k3.core.objects import Kind, Manifest, copied
from k3.core.records import dataclass
from k3.server.decoding import in_a_thread_if_long
from k3.server.options import WriteOptions
from k3.server.patching import apply, json_patch, managed, merge_patch, strategic
from k3.server.patching.refusals import as_go_prints
from k3.server.paths import Target
from k3.server.schema import bodies, json_text, types, wording
from k3.server.schema.shapes import Mistyped, Told
from k3.server.status import Refused, bad_request
from k3.server.writes import Guard, Writer, Written

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
TYPES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)
_STRICT: Final = "strict decoding error: "


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch as it was sent: its body, and which of the four kinds it is."""

    body: bytes
    media_type: str


def kind_of(content_type: str) -> str:
    """Returns which kind of patch a Content-Type names, in the spelling that Kubernetes wants. Raises Refused."""
    media_type = content_type.partition(";")[0].strip()
    if media_type not in TYPES:
        raise Refused(415, "415: Unsupported Media Type", details={})
    return media_type


async def patched(writer: Writer, target: Target, sent: Patch, options: WriteOptions, guard: Guard) -> Written:
    """Patches an object; applied on the server's side, it is made where it is not there. Raises Refused, Unavailable."""
    if sent.media_type == APPLY:
        return await _apply(writer, target, sent, options, guard)
    patching = _Patching(target.resource.kind, sent, options)
    written = await writer.change(target, patching.change, options, guard)
    return Written(written.manifest, written.is_new, tuple(patching.told))


class _Patching:
    """One patch, which may be tried several times."""

    def __init__(self, kind: Kind, sent: Patch, options: WriteOptions) -> None:
        self.told: list[str] = []
        self._kind = kind
        self._media_type = sent.media_type
        self._validation = options.validation
        self._patch, self._odd = _parsed(sent)

    def change(self, old: Manifest) -> Manifest:
        """Returns what the patch makes of an object. Raises Refused."""
        if self._media_type == JSON_PATCH:
            new = json_patch.patched(copied(old), self._patch)
        elif self._media_type == MERGE_PATCH:
            new = merge_patch.patched(copied(old), self._patch)
        else:
            kept = {"kind": old["kind"], "apiVersion": old["apiVersion"]}
            new = strategic.patched(self._kind, copied(old), self._patch) | kept
        if not isinstance(new, dict):
            raise bad_request(_NO_OBJECT)
        if not (new.get("kind") or new.get("apiVersion")):
            return {}  # which has no name, and is refused for it
        self._check(old, new)
        return new

    def _check(self, old: Manifest, new: Manifest) -> None:
        kind, told = self._kind, Told()
        if why := bodies.other_kind(kind, str(new.get("apiVersion") or ""), str(new.get("kind") or "")):
            raise self._refused(new, why)
        try:
            types.read(kind, new, told)
        except Mistyped as odd:
            raise self._refused(new, _converted(str(odd)) if self._media_type == STRATEGIC else str(odd)) from odd
        if self._validation == "Ignore":
            return
        found = sorted(each for what, each in told.strict if what == "unknown field")
        before = set(types.unknown_fields(kind, old)) if found else set()
        lines = [*self._odd, *(f'unknown field "{each}"' for each in found if each not in before)]
        if lines and self._validation == "Strict":
            raise self._refused(new, _STRICT + ", ".join(lines))
        self.told = lines

    def _refused(self, new: Manifest, why: str) -> Refused:
        shown = as_go_prints(self._patch) if self._media_type == STRATEGIC else wording.document(new)
        return types.refused_patch(shown, why)


async def _apply(writer: Writer, target: Target, sent: Patch, options: WriteOptions, guard: Guard) -> Written:
    from k3.server.schema import yaml_text  # noqa: PLC0415 - as in `bodies`

    kind = target.resource.kind
    try:
        found = await in_a_thread_if_long(yaml_text.parsed, sent.body)
    except yaml_text.NotYaml as odd:
        message = f"error decoding patch: error converting YAML to JSON: {odd}"
        raise bad_request(message) from odd
    if found.doubled and options.validation == "Strict":
        doubled = "\n  ".join(("yaml: unmarshal errors:", *found.doubled))
        message = f"error strict decoding patch: error converting YAML to JSON: {doubled}"
        raise bad_request(message)
    wanted = {} if found.value is None else found.value

    def applied(old: Manifest | None) -> Manifest:
        as_writer = managed.Writer(options.manager, times.timestamp(datetime.now(UTC)), target.subresource)
        return apply.applied(kind, old, wanted, as_writer, force=options.force)

    written = await writer.apply(target, applied, options, guard)
    return Written(written.manifest, written.is_new, found.doubled if options.validation == "Warn" else ())


def _parsed(sent: Patch) -> tuple[Any, list[str]]:
    """Returns a patch, and what is odd in how it was written. Raises Refused."""
    try:
        written = json_text.parsed(sent.body)  # knows what no patch may be, and which keys are there twice
        return DECODER.decode(sent.body.decode()), _odd(sent.media_type, written)
    except (ValueError, RecursionError) as odd:
        raise bad_request(_NOT_JSON) from odd


def _odd(media_type: str, found: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Returns the keys of a patch that are there twice, or of a JSON patch what no operation has."""
    if media_type != JSON_PATCH:
        return [f'duplicate field "{each}"' for each in json_text.doubled(found)]
    return json_patch.unknown_fields(
        [each if isinstance(each, dict) else {} for each in found] if isinstance(found, list) else []
    )


def _converted(why: str) -> str:
    """Returns what Kubernetes says of a strategic merge patch with a value of another type: it converts these by itself."""
    found = re.fullmatch(r"json: cannot unmarshal (\w+)(?: \S+)? into Go .* of type (\S+)", why)
    if found is None:
        return why
    given, wanted = found.groups()
    if wanted.startswith(("[]", "map")):
        made, other = ("slice", "map") if wanted.startswith("[]") else ("map", "slice")
        return f"cannot restore {made} from {other if given in {'object', 'array'} else _GO_KINDS.get(given, given)}"
    return f"cannot convert {_GO_KINDS.get(given, given)} to {wanted}"


_GO_KINDS: Final = {"number": "int64"}
_NOT_JSON: Final = "invalid JSON patch"
_NO_OBJECT: Final = "error decoding patch: what it makes is no object"
