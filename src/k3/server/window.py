"""The objects of one kind as every reader of the API sees them, with the changes of the last while.

store watch ─► agent.Cache ─► Window ─► lists, and any number of watches

A list that goes on over several pages is answered as of its first page, and a watch goes on behind any revision that the
window still knows: both from the changes that are kept. Revisions are the store's, so a client may go on at another server of
the same store. After a gap in what the store told, nothing before it is known any more: every watch ends with Expired, and the
client lists again (410, as at a Kubernetes API server).
"""

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

from k3.agent.buffer import Buffer
from k3.agent.cache import Cache, Listed, Lost, Notice
from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.errors import Expired, K3Error, Unavailable
from k3.core.objects import Key, Kind
from k3.core.records import dataclass
from k3.core.store import Bookmark, Change
from k3.server.entries import Entry, Place
from k3.server.selectors import FieldTerm
from k3.server.subjects import Subjects
from k3.server.turns import in_turns

FRESH_SECONDS: Final = 3.0
"""How long a reader waits for the window to get as far as the store, as at a Kubernetes API server."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Happening:
    """One change: what an object is now, and what it was before; one of both is None where it came or went."""

    shown: Entry
    """What a watcher of everything is shown: of an object that is gone its last state, at the revision of its deletion."""
    now: Entry | None
    before: Entry | None

    @property
    def revision(self) -> int:
        """Returns the revision of the change."""
        return self.shown.revision

    @property
    def type(self) -> EventType:
        """Returns what happened to the object."""
        if self.now is None:
            return "DELETED"
        return "ADDED" if self.before is None else "MODIFIED"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects of a kind at one revision, by place; `places` is in order."""

    revision: int
    places: list[Place]
    entries: Mapping[Place, Entry]

    def span(self, namespace: str, after: Place | None = None) -> tuple[int, int]:
        """Returns from where to where `places` are of a namespace (empty: of all), and behind a place."""
        begin, end = 0, len(self.places)
        if namespace:
            begin = bisect_left(self.places, (namespace, ""))
            end = bisect_left(self.places, (namespace + "\0", ""))
        if after is not None:
            begin = max(begin, bisect_right(self.places, after))
        return begin, end


class Watch(Buffer[Happening]):
    """What one watch has not been told yet."""

    def __init__(self) -> None:
        super().__init__()
        self.hand: Callable[[], bool] | None = None
        """Hands over all that there is, if that can be done at once; called only while the reader waits."""

    def tell(self) -> None:
        """Hands over what was kept, or wakes the reader."""
        is_quick = self.is_waited and len(self.items) <= limits.WATCH_AT_ONCE
        if self.items and not (is_quick and self.hand is not None and self.hand()):
            self.wake()


class Window:
    """One kind. Whoever feeds it calls `show` with a whole list, `apply` for each change, and `tell` after some of them."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.revision = 0
        """Up to which everything is known."""
        self.is_ready = False
        """Whether it has been shown a list, and has not been lost since."""
        self.watches: set[Watch] = set()
        self._has_news = False
        """Whether there is something to `tell`."""
        self._oldest = 0
        """The revision behind which all changes are kept."""
        self._places: list[Place] = []
        self._entries: dict[Place, Entry] = {}
        self._subjects: Subjects | None = None
        self._kept: deque[Happening] = deque()
        self._moved = asyncio.Event()

    # ── what feeds it ───────────────────────────────────────────────────────────────────────────────────────────────

    def show(self, listed: Listed) -> None:
        """Takes in a whole list. Watches go on where it shows nothing that they have not seen; else they end."""
        found = {_place(item.key): item for item in listed.objects}
        is_same = self._is_at({place: item.revision for place, item in found.items()})
        if not is_same or listed.revision < self.revision:
            self._entries = {place: Entry(item) for place, item in found.items()}
            self._places = sorted(self._entries)
            self._subjects = None
            self._kept.clear()
            self._oldest = self.revision = listed.revision
            self.cut(Expired(f"the history before revision {listed.revision} is not known here"))
        self.is_ready = True
        self._advance(listed.revision)

    def apply(self, change: Change) -> None:
        """Takes in one change, and keeps it for every watch."""
        item = change.object
        place = _place(item.key)
        before = self._entries.get(place)
        shown = Entry(item)
        now: Entry | None = shown
        if change.type == "DELETED":
            if before is None:
                return
            now = None
            del self._entries[place]
            del self._places[bisect_left(self._places, place)]
        else:
            self._entries[place] = shown
            if before is None:
                insort(self._places, place)
        if self._subjects is not None:
            if now is None:
                self._subjects.drop(place)
            else:
                self._subjects.put(place, now)
        happening = Happening(shown, now, before)
        self._keep(happening)
        for watch in self.watches:
            watch.keep(happening)
        self._has_news = True
        self._advance(item.revision)

    async def tell(self) -> None:
        """Tells every watch of the changes since the last time; others get their turn meanwhile."""
        if self._has_news:
            self._has_news = False
            async for watch in in_turns(list(self.watches)):
                watch.tell()

    def advance(self, revision: int) -> None:
        """Takes in that there is nothing else up to a revision."""
        self._advance(revision)

    def agree(self, found: Snapshot) -> None:
        """Takes in what the store itself lists: where that is what is here, nothing else has happened up to its revision.

        A store such as etcd does not tell a watch of one kind that only others changed.
        """
        if self._is_at({place: entry.revision for place, entry in found.entries.items()}):
            self._advance(found.revision)

    def lose(self) -> None:
        """The store is out of reach: what is here may be old."""
        self.is_ready = False

    def cut(self, error: K3Error) -> None:
        """Ends every watch."""
        for watch in self.watches:
            watch.end(error)

    def _is_at(self, revisions: Mapping[Place, int]) -> bool:
        """Whether the objects here are those, at these revisions."""
        return {place: entry.revision for place, entry in self._entries.items()} == revisions

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        self._moved.set()

    def _keep(self, happening: Happening) -> None:
        self._kept.append(happening)
        if len(self._kept) > limits.HISTORY_REVISIONS:
            self._oldest = self._kept.popleft().revision

    # ── what reads it ───────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, namespace: str, name: str) -> Entry | None:
        """Returns an object as it is now."""
        return self._entries.get((namespace, name))

    def now(self) -> Snapshot:
        """Returns all objects as they are now: to be read before the caller waits for anything."""
        return Snapshot(self.revision, self._places, self._entries)

    async def index_subjects(self) -> None:
        """Makes ready the index that `narrowed` reads: which objects are about what."""
        if self._subjects is None:
            self._subjects = Subjects(self._entries)
        await self._subjects.catch_up()

    def narrowed(self, found: Snapshot, term: FieldTerm) -> Snapshot:
        """Returns a snapshot of the objects that are about one thing; any other than that of now is returned as it is."""
        if self._subjects is None or found.entries is not self._entries:
            return found
        return Snapshot(found.revision, self._subjects.places((term.field, term.value)), found.entries)

    def as_of(self, revision: int) -> Snapshot:
        """Returns all objects as they were at a revision. Raises Expired where that is no longer known."""
        if revision < self._oldest:
            msg = f"The provided continue parameter is too old: revision {revision} is no longer known"
            raise Expired(msg)
        changed: dict[Place, Entry | None] = {}
        for happening in reversed(self._kept):
            if happening.revision <= revision:
                break
            changed[_place(happening.shown.key)] = happening.before
        if not changed:
            return Snapshot(revision, self._places, self._entries)
        entries = {**self._entries}
        for place, entry in changed.items():
            if entry is None:
                entries.pop(place, None)
            else:
                entries[place] = entry
        return Snapshot(revision, sorted(entries), entries)

    @contextmanager
    def watch(self, since: int) -> Iterator[tuple[list[Happening], Watch]]:
        """Gives what has happened behind a revision, and what will. Raises Expired where that is not known, Unavailable."""
        if not self.knows(since):
            msg = f"too old resource version: {since} ({self._oldest})"
            raise Expired(msg)
        if len(self.watches) >= limits.WATCHERS:
            msg = f"{limits.WATCHERS} watches are open already"
            raise Unavailable(msg)
        watch = Watch()
        self.watches.add(watch)
        try:
            yield self.since(since), watch
        finally:
            self.watches.discard(watch)

    def knows(self, revision: int) -> bool:
        """Whether all changes behind a revision are kept."""
        return revision >= self._oldest

    def since(self, revision: int) -> list[Happening]:
        """Returns the changes behind a revision, in order."""
        found: list[Happening] = []
        for happening in reversed(self._kept):
            if happening.revision <= revision:
                break
            found.append(happening)
        return found[::-1]

    async def reached(self, revision: int, *, seconds: float = FRESH_SECONDS) -> bool:
        """Whether the window has, or gets within some seconds, as far as a revision."""
        try:
            async with time_limit(seconds):
                while self.revision < revision or not self.is_ready:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True


async def feed(window: Window, cache: Cache) -> None:
    """Keeps a window as the cache is, for ever."""
    while True:
        with cache.follow() as notices:
            try:
                async for notice in notices:
                    _take_in(window, notice)
                    if notices.is_empty:
                        await window.tell()
            except Expired:  # so many changes at once that this task had no turn: the next begins with the whole list
                await asyncio.sleep(0)


def _take_in(window: Window, notice: Notice | Bookmark) -> None:
    match notice:
        case Listed():
            window.show(notice)
        case Lost():
            window.lose()
        case Bookmark(revision):
            window.advance(revision)
        case _:
            window.apply(notice)


def _place(key: Key) -> Place:
    return key.namespace, key.name
