"""What the query of a request asks for. Pure.

Parameters that are not known are ignored, as Kubernetes does (clients send their own `timeout`); of the others a value that
cannot be meant is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from k3.core.objects import Kind
from k3.server.status import Cause, Refused, bad_request, invalid

Query = Mapping[str, Sequence[str]]
"""All values of each parameter, decoded, in their order."""
Validation = Literal["Strict", "Warn", "Ignore"]

_MANAGER_BYTES: Final = 128
_INT64: Final = 2**63
_REVISION_DIGITS: Final = 19
_LIST_OPTIONS: Final = Kind(group="meta.k8s.io", version="v1", name="ListOptions", plural="", namespaced=False)
_WRITE_OPTIONS: Final = Kind(group="meta.k8s.io", version="v1", name="PatchOptions", plural="", namespaced=False)


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
    initial_events: bool = False
    include_object: str = "Metadata"

    @classmethod
    def parse(cls, query: Query, *, is_watch: bool = False) -> Self:
        """Returns what a query asks for. Raises Refused."""
        found = cls(
            labels=_text(query, "labelSelector"),
            fields=_text(query, "fieldSelector"),
            limit=_number(query, "limit"),
            continue_=_text(query, "continue"),
            revision=_revision(query),
            match=_text(query, "resourceVersionMatch"),
            watch=is_watch or is_true(query, "watch"),
            bookmarks=is_true(query, "allowWatchBookmarks"),
            timeout_seconds=_number(query, "timeoutSeconds"),
            initial_events=is_true(query, "sendInitialEvents"),
            include_object=_text(query, "includeObject") or "Metadata",
        )
        found._check(query)
        return found

    def _check(self, query: Query) -> None:
        says_initial = "sendInitialEvents" in query
        for holds, field, why in self._watch_rules(says_initial) if self.watch else self._list_rules(says_initial):
            if not holds:
                raise _forbidden(field, why)
        if self.include_object not in {"None", "Metadata", "Object"}:
            message = f'unrecognized includeObject value "{self.include_object}"'
            raise bad_request(message)

    def _watch_rules(self, says_initial: bool) -> Iterator[tuple[bool, str, str]]:  # noqa: FBT001 - one caller, above
        yield (
            not says_initial or self.match == "NotOlderThan",
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )
        yield (
            says_initial or not self.match,
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )

    def _list_rules(self, says_initial: bool) -> Iterator[tuple[bool, str, str]]:  # noqa: FBT001 - one caller, above
        match = "resourceVersionMatch"
        yield not says_initial, "sendInitialEvents", "sendInitialEvents is forbidden for list"
        if self.match:
            yield self.revision is not None, match, f"{match} is forbidden unless resourceVersion is provided"
            yield not self.continue_, match, f"{match} is forbidden when continue is provided"
            is_exact_any = self.match == "Exact" and self.revision == 0
            yield not is_exact_any, match, f'{match} "exact" is forbidden for resourceVersion "0"'


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How to write."""

    dry_run: bool = False
    manager: str = ""
    validation: Validation = "Warn"
    force: bool = False

    @classmethod
    def parse(cls, query: Query, *, user_agent: str = "") -> Self:
        """Returns what a query asks for; without a manager, it is the client's name. Raises Refused."""
        causes: list[Cause] = []
        dry_run = list(query.get("dryRun", ()))
        if any(each != "All" for each in dry_run if each):
            told = ", ".join(f'"{each}"' for each in dry_run)
            causes.append(Cause("FieldValueNotSupported", f'Unsupported value: [{told}]: supported values: "All"', "dryRun"))
        validation = _text(query, "fieldValidation") or "Warn"
        if validation not in {"Strict", "Warn", "Ignore"}:
            why = f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
            causes.append(Cause("FieldValueNotSupported", why, "fieldValidation"))
        manager = _text(query, "fieldManager") or user_agent.partition("/")[0] or "unknown"
        if len(manager.encode()) > _MANAGER_BYTES:
            why = f"Too long: may not be more than {_MANAGER_BYTES} bytes"
            causes.append(Cause("FieldValueTooLong", why, "fieldManager"))
        if causes:
            raise invalid(_WRITE_OPTIONS, "", causes)
        return cls(
            dry_run="All" in dry_run,
            manager="".join(each if each.isprintable() else "_" for each in manager),
            validation=validation,  # type: ignore[arg-type]  # checked two lines above
            force=is_true(query, "force"),
        )


def _forbidden(field: str, why: str) -> Refused:
    return invalid(_LIST_OPTIONS, "", [Cause("FieldValueForbidden", f"Forbidden: {why}", field)])


def _text(query: Query, name: str) -> str:
    return (query.get(name) or ("",))[0]


def is_true(query: Query, name: str) -> bool:
    """Whether a parameter is set, as Kubernetes reads it: anything but `false` and `0` is true, even nothing."""
    return name in query and _text(query, name).lower() not in {"false", "0"}


def _number(query: Query, name: str) -> int:
    text = _text(query, name)
    if not text:
        return 0
    bare = text.removeprefix("-")
    if not (bare.isascii() and bare.isdigit()) or len(bare) > _REVISION_DIGITS or int(bare) >= _INT64:
        message = f'strconv.ParseInt: parsing "{text}": invalid syntax'
        raise bad_request(message)
    return max(0, int(text))


def _revision(query: Query) -> int | None:
    text = _text(query, "resourceVersion")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > _REVISION_DIGITS:
        message = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        cause = Cause("FieldValueInvalid", message, "resourceVersion")
        raise invalid(_LIST_OPTIONS, "", [cause])
    return int(text)
