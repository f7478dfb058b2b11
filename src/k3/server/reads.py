"""Lists of the API: in pages, at a revision, as selected."""

import asyncio
import base64
import binascii
import json
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final, Protocol, TypeVar

from k3.core.errors import Expired
from k3.core.records import dataclass
from k3.server.entries import Entry, Place
from k3.server.options import ReadOptions
from k3.server.schema import json_text
from k3.server.selectors import Selection
from k3.server.shapes import LIST_END, Shape, list_of
from k3.server.status import Refused, bad_request, expired
from k3.server.turns import TURN_SECONDS
from k3.server.window import Snapshot, Window

TURN: Final = 200
"""Objects that are written before it is looked whether others should get their turn."""

SOON_SECONDS: Final = 0.25
"""How long a window may take to be as new as its store before the store itself is listed."""


T = TypeVar("T")


class Origin(Protocol):
    """Where a window's objects come from."""

    async def head(self) -> int:
        """Returns the newest revision. Raises Unavailable."""
        ...

    async def list(self) -> Snapshot:
        """Returns all objects of the window's kind as they are there now. Raises Unavailable."""
        ...


_TOKEN_VERSION: Final = "meta.k8s.io/v1"  # noqa: S105 - the version of a continue token, as Kubernetes writes it


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list. `after` is the last place, where more follow; `remaining` how many, where that is known."""

    revision: int
    entries: list[Entry]
    after: Place | None
    remaining: int | None

    def metadata(self) -> dict[str, Any]:
        """Returns the list's metadata."""
        found: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if self.after is not None:
            found["continue"] = _token(self.revision, self.after)
            if self.remaining is not None:
                found["remainingItemCount"] = self.remaining
        return found


async def snapshot(window: Window, revision: int | None, origin: Origin) -> Snapshot:
    """Returns the objects as of now: not older than a revision; None: than the newest of the store; 0: whatever is known.

    Raises Refused where the store has not got that far, Unavailable.
    """
    if revision:
        await wait_for(window, revision, origin)
        return window.now()
    if revision == 0 and window.revision:
        return window.now()
    if await window.reached(await origin.head(), seconds=SOON_SECONDS):
        return window.now()
    found = await origin.list()
    window.agree(found)
    return found


async def wait_for(window: Window, revision: int, origin: Origin) -> None:
    """Waits until a window has got as far as a revision that a client names. Raises Refused, Unavailable."""
    if await window.reached(revision, seconds=SOON_SECONDS):
        return
    if revision <= await origin.head():
        window.agree(await origin.list())
    if not await window.reached(revision):
        raise too_large(revision, window.revision)


def too_large(asked: int, current: int) -> Refused:
    """Returns the refusal of a revision that is still to come."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return Refused(504, message, details=details)


async def page(window: Window, namespace: str, wanted: Selection, options: ReadOptions, origin: Origin) -> Page:
    """Returns what a list request asks for. Raises Refused, Unavailable."""
    after: Place | None = None
    if (subject := wanted.subject) is not None:
        await window.index_subjects()
    if options.continue_:
        revision, after = _read_token(options.continue_)
        await wait_for(window, revision, origin)
        found = _as_of(window, revision)
    elif options.revision and (options.match == "Exact" or (options.limit and not options.match)):
        await wait_for(window, options.revision, origin)
        found = _as_of(window, options.revision)
    else:
        found = await snapshot(window, options.revision, origin)
    limit = 0 if options.revision == 0 and after is None else options.limit  # as a kube-apiserver answers from its cache
    if subject is not None:
        found = window.narrowed(found, subject)
    return _cut(found, namespace, wanted, limit, after)


def _as_of(window: Window, revision: int) -> Snapshot:
    try:
        return window.as_of(revision)
    except Expired as error:
        raise expired(str(error)) from error


def _cut(found: Snapshot, namespace: str, wanted: Selection, limit: int, after: Place | None) -> Page:
    if (name := wanted.name) and namespace:
        entry = found.entries.get((namespace, name))
        return Page(found.revision, [entry] if entry is not None and wanted.matches(entry) else [], None, None)
    begin, end = found.span(namespace, after)
    if wanted.is_everything and not limit:
        return Page(found.revision, [found.entries[place] for place in found.places[begin:end]], None, None)
    chosen: list[Entry] = []
    places = found.places
    for at in range(begin, end):
        entry = found.entries[places[at]]
        if not wanted.is_everything and not wanted.matches(entry):
            continue
        if limit and len(chosen) == limit:
            last = chosen[-1].key
            remaining = end - at if wanted.is_everything else None
            return Page(found.revision, chosen, (last.namespace, last.name), remaining)
        chosen.append(entry)
    return Page(found.revision, chosen, None, None)


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that is written: how it begins, and its items."""

    head: bytes
    items: list[bytes]

    @property
    def size(self) -> int:
        """Returns how many bytes it has."""
        return len(self.head) + sum(map(len, self.items)) + max(0, len(self.items) - 1) + len(LIST_END)

    def whole(self) -> bytes:
        """Returns all of it."""
        return list_of(self.head, self.items)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Gives it piece by piece: of 10,000 Nodes it is 10 MB, which are never put together (ADR 60)."""
        before = self.head
        for few in _slices(self.items):
            yield before + b",".join(few)
            before = b","
        yield LIST_END if self.items else self.head + LIST_END


async def written(found: Page, form: Shape) -> Listing:
    """Returns a page as it is answered; others get their turn while it is written."""
    items: list[bytes] = []
    began = time.perf_counter()
    for few in _slices(found.entries):
        items += form.items(few)
        if time.perf_counter() - began > TURN_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()
    return Listing(form.head(found.metadata()), items)


def _slices(items: list[T]) -> Iterator[list[T]]:
    for begin in range(0, len(items), TURN):
        yield items[begin : begin + TURN]


def _token(revision: int, after: Place) -> str:
    namespace, name = after
    start = f"{namespace}/{name}" if namespace else name
    text = json.dumps({"v": _TOKEN_VERSION, "rv": revision, "start": start + "\0"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _read_token(token: str) -> tuple[int, Place]:
    """Returns the revision and the last place of the page before. Raises Refused."""
    try:
        text = base64.urlsafe_b64decode((token + "=" * (-len(token) % 4)).encode("ascii"))
        parsed = json_text.parsed(text)
    except json_text.NotJson as odd:
        raise _bad_token(str(odd)) from odd
    except (ValueError, binascii.Error) as odd:
        raise _bad_token() from odd
    found = parsed if isinstance(parsed, dict) else {}
    version, revision, start = found.get("v") or "", found.get("rv") or 0, found.get("start") or ""
    if version != _TOKEN_VERSION:
        why = f"server does not recognize this encoded version {version}"
        raise _bad_token(why)
    if not isinstance(revision, int) or not 0 < revision < 2**63:
        why = f"incorrect encoded start resourceVersion (version {_TOKEN_VERSION})"
        raise _bad_token(why)
    if not isinstance(start, str) or not start.endswith("\0"):
        raise _bad_token()
    namespace, _, name = start[:-1].rpartition("/")
    return revision, (namespace, name)


def _bad_token(why: str = "") -> Refused:
    return bad_request(f"invalid continue token: {_BAD_TOKEN}{': ' if why else ''}{why}")


_BAD_TOKEN: Final = "continue key is not valid"  # noqa: S105 - a message
