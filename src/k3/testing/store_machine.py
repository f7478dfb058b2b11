"""Random histories of a Store against a plain dict, with watchers kept open the whole time. Needs hypothesis.

    class MyMachine(StoreMachine):
        async def open(self) -> Store:
            return await connect(...)  # on new, empty data

    TestMachine = MyMachine.TestCase

Every rule does one thing to the store and to the model and compares the answers. A fence, a Lease or Node written on
purpose, tells without waiting for time to pass that a watcher has heard everything there was to hear.
"""
# ruff: noqa: S101 - assert is how a test speaks

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from k3.core.documents import encode
from k3.core.errors import AlreadyExists, Conflict, K3Error, NotFound
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Change, Event, Page, Store

T = TypeVar("T")

NAMES: Final = st.sampled_from(["a", "a-1", "a.1", "b", "c"])
CONTENT: Final = st.fixed_dictionaries({"spec": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2), max_size=2)})
FENCE: Final = Key(NODE, "zz-fence")


@dataclass(slots=True)
class _Watcher:
    events: AsyncIterator[Event]
    since: int
    heard: list[Change]


class StoreMachine(RuleBasedStateMachine):
    """Random histories of one store. A subclass says how an empty store is opened."""

    hang_seconds: ClassVar[float] = 20.0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model: dict[str, Object] = {}
        self.history: list[Change] = []
        self.dead: list[Object] = []
        self.uids: set[str] = set()
        self.watchers: list[_Watcher] = []

    async def open(self) -> Store:
        """Returns a store with nothing in it. To be overridden."""
        raise NotImplementedError

    # --- the beginning and the end

    @initialize()
    def begin(self) -> None:
        """Opens the store and a watcher that stays open."""
        self.store = self.run(self.open())
        self.start = self.run(self.store.list(NODE)).revision
        self.watch_from(self.start)

    def teardown(self) -> None:
        """Every watcher has heard everything; nothing stays open."""
        try:
            if hasattr(self, "store"):
                self.everybody_has_heard_everything()
        finally:
            self.run(self.stack.aclose())
            if hasattr(self, "store"):
                self.run(self.store.aclose())
            self.runner.close()

    # --- writes

    @rule(name=NAMES, content=CONTENT)
    def create(self, name: str, content: Manifest) -> None:
        """Creates: a free name is taken, a taken one refused."""
        got = self.attempt(self.store.create(Key(NODE, name), content))
        if name in self.model:
            assert isinstance(got, AlreadyExists)
            return
        assert isinstance(got, Object)
        assert got.uid not in self.uids, "a uid was used again"
        assert got.manifest()["spec"] == content["spec"]
        self.uids.add(got.uid)
        self.committed(Change("ADDED", got))

    @rule(name=NAMES, content=CONTENT)
    def update(self, name: str, content: Manifest) -> None:
        """Updates: the newest state is replaced, unless nothing differs."""
        stored = self.model.get(name)
        if stored is None:
            ghost = Object(key=Key(NODE, name), uid="ghost", revision=self.start, document=encode(content))
            assert isinstance(self.attempt(self.store.update(ghost)), NotFound)
            return
        wanted = stored.with_manifest({**stored.manifest(), **content})
        got = self.attempt(self.store.update(wanted))
        if wanted == stored:
            assert got == stored, "an update that changes nothing was written"
            return
        assert isinstance(got, Object)
        assert got == replace(wanted, revision=got.revision)
        self.committed(Change("MODIFIED", got))

    @precondition(lambda self: self.dead)
    @rule(data=st.data(), content=CONTENT)
    def update_from_the_past(self, data: st.DataObject, content: Manifest) -> None:
        """Updates with an earlier revision, or an earlier object of that name, and is refused."""
        old = data.draw(st.sampled_from(self.dead))
        got = self.attempt(self.store.update(replace(old, document=encode({**content, "stale": True}))))
        assert isinstance(got, Conflict if old.key.name in self.model else NotFound)

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def delete_from_the_past(self, data: st.DataObject) -> None:
        """Deletes expecting an earlier revision or object, and is refused."""
        old = data.draw(st.sampled_from(self.dead))
        stored = self.model.get(old.key.name)
        if stored is None or stored.uid != old.uid:
            got = self.attempt(self.store.delete(old.key, uid=old.uid))
        else:
            got = self.attempt(self.store.delete(old.key, revision=old.revision))
        assert isinstance(got, NotFound if stored is None else Conflict)

    @rule(name=NAMES, expecting=st.booleans())
    def delete(self, name: str, expecting: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        """Deletes: what is there goes, and its last state is the answer."""
        key, stored = Key(NODE, name), self.model.get(name)
        if stored is None:
            assert isinstance(self.attempt(self.store.delete(key)), NotFound)
            return
        wanted = {"revision": stored.revision, "uid": stored.uid} if expecting else {}
        got = self.attempt(self.store.delete(key, **wanted))  # type: ignore[arg-type]
        assert isinstance(got, Object)
        assert got == replace(stored, revision=got.revision)
        self.committed(Change("DELETED", got))

    # --- reads

    @rule(name=NAMES)
    def get(self, name: str) -> None:
        """Gets the newest state."""
        got = self.attempt(self.store.get(Key(NODE, name)))
        assert got == self.model[name] if name in self.model else isinstance(got, NotFound)

    @rule(limit=st.integers(0, 3))
    def list_in_pages(self, limit: int) -> None:
        """Lists in pages, which together are the newest state."""
        assert self.pages(limit, at=None) == sorted(self.model.values(), key=lambda item: item.key.path)

    @precondition(lambda self: self.history)
    @rule(data=st.data(), limit=st.integers(0, 3))
    def list_the_past(self, data: st.DataObject, limit: int) -> None:
        """Lists a state of the past, whatever has happened since."""
        number = data.draw(st.integers(0, len(self.history) - 1))
        past: dict[str, Object] = {}
        for change in self.history[: number + 1]:
            _apply(past, change)
        at = self.history[number].object.revision
        assert self.pages(limit, at=at) == sorted(past.values(), key=lambda item: item.key.path)

    # --- watchers

    @precondition(lambda self: len(self.watchers) < 4)  # noqa: PLR2004 - enough
    @rule(data=st.data())
    def watch_from_the_past(self, data: st.DataObject) -> None:
        """Adds a watcher from any revision there was."""
        self.watch_from(data.draw(st.sampled_from([self.start, *(change.object.revision for change in self.history)])))

    @rule()
    def everybody_has_heard_everything(self) -> None:
        """Each change once, in order, and nothing else."""
        stored = self.model.get(FENCE.name)
        if stored is None:
            self.committed(Change("ADDED", self.run(self.store.create(FENCE, {}))))
        else:
            self.committed(Change("DELETED", self.run(self.store.delete(FENCE))))
        fence = self.history[-1].object.revision
        for watcher in self.watchers:
            self.run(self.listen(watcher, fence))
            assert watcher.heard == [change for change in self.history if change.object.revision > watcher.since]

    @invariant()
    def revisions_rise(self) -> None:
        """Strictly, over all writes."""
        revisions = [change.object.revision for change in self.history]
        assert revisions == sorted(set(revisions))
        assert not revisions or revisions[0] > self.start

    # --- how

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs to the end, or fails after `hang_seconds`."""
        return self.runner.run(asyncio.wait_for(work, self.hang_seconds))

    def attempt(self, work: Coroutine[Any, Any, T]) -> T | K3Error:
        """Returns the result, or the error that the port allows."""
        try:
            return self.run(work)
        except K3Error as error:
            return error

    def committed(self, change: Change) -> None:
        """Notes in the model what the store says it did."""
        before = self.model.get(change.object.key.name)
        if before is not None:
            self.dead.append(before)
        _apply(self.model, change)
        self.history.append(change)

    def pages(self, limit: int, *, at: int | None) -> list[Object]:
        """Returns all pages of a list together."""
        page: Page = self.run(self.store.list(NODE, limit=limit, at=at))
        found = list(page.objects)
        while page.after is not None:
            assert len(page.objects) == limit
            page = self.run(self.store.list(NODE, limit=limit, after=page.after, at=page.revision))
            found += page.objects
        return found

    def watch_from(self, since: int) -> None:
        """Opens a watcher that stays open to the end."""
        events = self.run(self.stack.enter_async_context(self.store.watch(NODE, since)))
        self.watchers.append(_Watcher(events, since, []))

    async def listen(self, watcher: _Watcher, until: int) -> None:
        """Reads up to the change at `until`."""
        while not watcher.heard or watcher.heard[-1].object.revision < until:
            event = await anext(watcher.events, None)
            assert event is not None, "a watch ended by itself"
            if isinstance(event, Change):
                watcher.heard.append(event)


def _apply(state: dict[str, Object], change: Change) -> None:
    if change.type == "DELETED":
        del state[change.object.key.name]
    else:
        state[change.object.key.name] = change.object
