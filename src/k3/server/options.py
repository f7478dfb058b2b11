"""What the query of a request asks for. Pure.

Parameters that are not known are ignored, as Kubernetes does (clients send their own `timeout`); of the others a value that
cannot be meant is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Self

from k3.core.objects import Kind
from k3.core.records import dataclass
from k3.server.patching import managed
from k3.server.schema import metadata_rules
from k3.server.schema.complaints import Complaints
from k3.server.status import Cause, Refused, bad_request, invalid

Query = Mapping[str, Sequence[str]]
"""All values of each parameter, decoded, in their order."""
Validation = Literal["Strict", "Warn", "Ignore"]
WriteKind = Literal["CreateOptions", "UpdateOptions", "PatchOptions", "DeleteOptions"]

_INT64: Final = 2**63
_UINT64: Final = 2**64
_DIGITS: Final = 20
_DURATION: Final = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_POLICIES: Final = ("Foreground", "Background", "Orphan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to list or watch. A revision is None where none was given; 0 means any."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    continue_: str = ""
    revision: int | None = None
    match: str = ""
    watch: bool = False
    bookmarks: bool = False
    timeout_seconds: int = 0
    initial_events: bool | None = None
    """None: not said, and then a watch begins with what is there where it names no revision."""

    @classmethod
    def parse(cls, query: Query, *, is_watch: bool = False) -> Self:
        """Returns what a query asks for. Raises Refused."""
        said = Said(query)
        watch = is_watch or said.is_true("watch") is True
        match, continue_ = said.text("resourceVersionMatch"), said.text("continue")
        limit, seconds = said.number("limit"), said.number("timeoutSeconds")
        initial = said.is_true("sendInitialEvents")
        rules = _watch_rules(match, continue_, initial) if watch else _list_rules(match, continue_, said, initial)
        if causes := list(rules):
            raise invalid(_options("ListOptions"), "", causes)
        revision = said.revision(is_list=not watch)
        if continue_ and revision:
            message = "specifying resource version is not allowed when using continue"
            raise bad_request(message)
        return cls(
            labels=said.text("labelSelector"),
            fields=said.text("fieldSelector"),
            limit=max(0, limit),
            continue_=continue_,
            revision=revision,
            match=match,
            watch=watch,
            bookmarks=said.is_true("allowWatchBookmarks") is True,
            timeout_seconds=max(0, seconds),
            initial_events=initial,
        )

    @classmethod
    def of_one(cls, query: Query) -> Self:
        """Returns how to get one object: only its revision may be named. Raises Refused."""
        return cls(revision=Said(query).revision(is_list=False))


def included(query: Query) -> str:
    """Returns how much of an object comes with a row of a table. Raises Refused."""
    found = Said(query).text("includeObject") or "Metadata"
    if found not in {"None", "Metadata", "Object"}:
        why = f"""includeObject: Invalid value: "{found}": must be 'Metadata', 'Object', 'None', or empty"""
        message = f"Unable to convert to Table as requested: {why}"
        raise bad_request(message)
    return found


def check_timeout(query: Query) -> None:
    """Refuses a `timeout` that is no duration; k3 answers what it can at once, and gives up on no request."""
    text = Said(query).text("timeout")
    if text and not _DURATION.fullmatch(text):
        why = f'time: invalid duration "{text}"'
        if re.fullmatch(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", text):
            why = f'time: missing unit in duration "{text}"'
        message = f"invalid timeout specified in the request URL - {why}"
        raise bad_request(message)


def _watch_rules(match: str, continue_: str, initial: bool | None) -> Iterator[Cause]:  # noqa: FBT001 - one caller, above
    if initial is not None and match != "NotOlderThan":
        yield _forbidden(_MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    if match and initial is None:
        yield _forbidden(_MATCH, f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided")
    if match not in {"", "NotOlderThan"}:
        yield _unsupported(_MATCH, match, "NotOlderThan")
    if continue_:
        yield _forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")


def _list_rules(match: str, continue_: str, said: "Said", initial: bool | None) -> Iterator[Cause]:  # noqa: FBT001 - as above
    revision = said.text("resourceVersion")
    if match:
        if not revision:
            yield _forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided")
        if continue_:
            yield _forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")
        if match not in {"Exact", "NotOlderThan"}:
            yield _unsupported(_MATCH, match, "Exact", "NotOlderThan", "")
        if match == "Exact" and revision == "0":
            yield _forbidden(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"')
    if initial is not None:
        yield _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How to write."""

    dry_run: bool = False
    manager: str = ""
    validation: Validation = "Warn"
    force: bool = False

    @classmethod
    def parse(cls, query: Query, kind: WriteKind, *, user_agent: str = "", is_apply: bool = False) -> Self:
        """Returns what a query asks for; without a manager, it is the client's name. Raises Refused.

        `is_apply`: a patch of server-side apply, which alone may force, and must name its manager.
        """
        said = Said(query)
        manager = said.text("fieldManager")
        found = Complaints()
        if kind == "PatchOptions":
            if is_apply and not manager:
                found.required("fieldManager", "is required for apply patch")
            if not is_apply and "force" in query:
                found.forbidden("force", "may not be specified for non-apply patch")
        metadata_rules.check_manager(found, "fieldManager", manager)
        causes = [*found.causes, *_dry_run_rules(query.get("dryRun", ()))]
        validation = said.text("fieldValidation") or "Warn"
        if validation not in {"Strict", "Warn", "Ignore"}:
            causes.append(_unsupported("fieldValidation", validation, "", "Ignore", "Strict", "Warn"))
        if causes:
            raise invalid(_options(kind), "", causes)
        return cls(
            dry_run="All" in query.get("dryRun", ()),
            manager=managed.manager_name(manager, user_agent),
            validation=validation,  # type: ignore[arg-type]  # checked above
            force=said.is_true("force") is True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How to delete. A precondition is None where it was not given: an empty one is one, too, and holds for nothing."""

    dry_run: bool = False
    policy: str = ""
    uid: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, query: Query, body: Mapping[str, Any] | None) -> Self:
        """Returns what a query asks for, or a DeleteOptions in the body, where there is one. Raises Refused."""
        said = Said(query)
        if body is None:
            said.number("gracePeriodSeconds")
            orphan, policy = said.is_true("orphanDependents"), said.texts("propagationPolicy")
            dry_run, wanted = (
                list(query.get("dryRun", ())),
                {"resourceVersion": said.given("resourceVersion"), "uid": said.given("uid")},
            )
        else:
            orphan, policy = body.get("orphanDependents"), [body["propagationPolicy"]] if "propagationPolicy" in body else []
            dry_run, wanted = body.get("dryRun") or [], body.get("preconditions") or {}
        causes: list[Cause] = []
        named = policy[0] if policy else ""
        if orphan is not None and policy:
            why = f'Invalid value: "{named}": orphanDependents and deletionPropagation cannot be both set'
            causes.append(Cause("FieldValueInvalid", why, "propagationPolicy"))
        if policy and named not in _POLICIES:
            causes.append(_unsupported("propagationPolicy", named, *_POLICIES, "nil"))
        causes += _dry_run_rules(dry_run)
        if causes:
            raise invalid(_options("DeleteOptions"), "", causes)
        kept = named or ("" if orphan is None else "Orphan" if orphan else "Background")
        return cls(dry_run="All" in dry_run, policy=kept, uid=wanted.get("uid"), revision=wanted.get("resourceVersion"))


def _dry_run_rules(values: Sequence[str]) -> Iterator[Cause]:
    if any(each != "All" for each in values):
        told = json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)
        yield Cause("FieldValueNotSupported", f'Unsupported value: {told}: supported values: "All"', "dryRun")


def _options(name: str) -> Kind:
    return Kind(group="meta.k8s.io", version="v1", name=name, plural="", namespaced=False)


def _forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _unsupported(field: str, value: str, *supported: str) -> Cause:
    told = ", ".join(f'"{each}"' for each in supported)
    return Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {told}', field)


class Said:
    """What a query says of one parameter: the first of its values counts, as in Kubernetes."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def texts(self, name: str) -> list[str]:
        """Returns all values that are not empty."""
        return [each for each in self._query.get(name, ()) if each]

    def given(self, name: str) -> str | None:
        """Returns a value; None: there is none."""
        return (self._query.get(name) or (None,))[0]

    def text(self, name: str) -> str:
        """Returns a value; empty: there is none."""
        return self.given(name) or ""

    def is_true(self, name: str) -> bool | None:
        """Returns a truth: whatever does not say otherwise is true, as in Kubernetes. None: there is none."""
        found = self.given(name)
        return None if found is None else found.lower() not in {"0", "false"}

    def number(self, name: str) -> int:
        """Returns a whole number; 0: there is none. Raises Refused."""
        found = self.given(name)
        if found is None:
            return 0
        if why := _not_a_number(found, signed=True):
            message = f'strconv.ParseInt: parsing "{found}": {why}'
            raise bad_request(message)
        return int(found)

    def revision(self, *, is_list: bool) -> int | None:
        """Returns a revision. Raises Refused: a kube-apiserver takes one that is none for its own fault, but for a list."""
        found = self.text("resourceVersion")
        if not found:
            return None
        why = _not_a_number(found, signed=False)
        if not why:
            return int(found)
        told = f'resourceVersion: Invalid value: "{found}": strconv.ParseUint: parsing "{found}": {why}'
        raise bad_request(f"invalid resource version: {told}") if is_list else Refused(500, told, reason="")


def _not_a_number(text: str, *, signed: bool) -> str:
    """Returns what is wrong with a number, in Go's words; empty: nothing."""
    bare = text[1:] if signed and text[:1] in {"+", "-"} else text
    if not (bare.isascii() and bare.isdigit()):
        return "invalid syntax"
    if len(bare.lstrip("0")) > _DIGITS or int(bare) >= (_INT64 if signed else _UINT64):
        return "value out of range"
    return ""


_MATCH: Final = "resourceVersionMatch"
