"""What one write does to one object: pure, and the same for every backend that keeps its own log.

A verb becomes a `CreateWrite`, `UpdateWrite` or `DeleteWrite` in the caller, where all that the caller could have got wrong is
refused. `apply` then holds it against the object as it stands, inside the backend's transaction.
"""

from collections.abc import Iterable
from dataclasses import field
from datetime import UTC, datetime

from k3.core import limits
from k3.core.documents import decode, same_json
from k3.core.errors import AlreadyExists, Conflict, Invalid, K3Error, NotFound
from k3.core.objects import Key, Manifest, Object, check_size, key_from_path, new_document
from k3.core.records import dataclass
from k3.core.store import Change
from k3.core.times import timestamp


@dataclass(frozen=True, slots=True)
class CreateWrite:
    """A new object under a name that must be free."""

    key: Key
    uid: str
    created: str
    document: bytes


@dataclass(frozen=True, slots=True)
class UpdateWrite:
    """New content for the object that was read."""

    item: Object
    manifest: Manifest = field(repr=False)

    @property
    def key(self) -> Key:
        """The object's key."""
        return self.item.key


@dataclass(frozen=True, slots=True)
class DeleteWrite:
    """The end of an object; of that revision or uid only, where given."""

    key: Key
    revision: int | None
    uid: str | None


Write = CreateWrite | UpdateWrite | DeleteWrite
WriteOutcome = Object | K3Error
"""What the caller of a write gets: the stored object, or the error to raise."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log: what was committed, and what stood there before."""

    change: Change
    previous: Object | None

    @property
    def key(self) -> Key:
        """The key of the object that was written."""
        return self.change.object.key

    @property
    def revision(self) -> int:
        """The revision of this write."""
        return self.change.object.revision


@dataclass(frozen=True, slots=True)
class Batch:
    """Several writes decided together: an outcome for each, and the lines that go into the log."""

    outcomes: tuple[WriteOutcome, ...]
    entries: tuple[Entry, ...]


def new_create(key: Key, manifest: Manifest, *, uid: str, now: float) -> CreateWrite:
    """Returns a create at wall time `now` (seconds since 1970). Raises Invalid (odd key, not JSON) and TooLarge."""
    if not is_storable(key):
        msg = f"{str(key)!r} cannot be stored: a name is 1 to {limits.NAME_BYTES} printable ASCII characters without '/'"
        raise Invalid(msg)
    created = timestamp(datetime.fromtimestamp(now, UTC))
    try:
        document = new_document(key, manifest, uid=uid, created=created)
    except (TypeError, ValueError, RecursionError) as odd:
        msg = f"{key} cannot be written as JSON: {odd}"
        raise Invalid(msg) from odd
    check_size(key, document)
    return CreateWrite(key, uid, created, document)


def new_update(item: Object) -> UpdateWrite:
    """Returns an update to `item.document`. Raises NotFound (an impossible key), Invalid (not a JSON object), TooLarge."""
    _check_storable(item.key)
    check_size(item.key, item.document)
    try:
        return UpdateWrite(item, decode(item.document))
    except (ValueError, RecursionError) as odd:
        msg = f"{item.key} is not JSON: {odd}"
        raise Invalid(msg) from odd


def new_delete(key: Key, *, revision: int | None, uid: str | None) -> DeleteWrite:
    """Returns a delete. Raises NotFound (a key that cannot exist)."""
    _check_storable(key)
    return DeleteWrite(key, revision, uid)


def is_storable(key: Key) -> bool:
    """Whether a key has a path of its own. Anything else can neither be stored nor found."""
    path = key.path
    fits = max(len(key.name), len(key.namespace)) <= limits.NAME_BYTES
    return fits and path.isascii() and path.isprintable() and key_from_path(path) == key


def apply(write: Write, current: Object | None, revision: int) -> Entry | None:
    """Returns the log line for `write` on top of `current`, numbered `revision`; None where it changes nothing.

    Raises AlreadyExists, NotFound, Conflict.
    """
    if isinstance(write, CreateWrite):
        if current is not None:
            msg = f"{write.key} already exists"
            raise AlreadyExists(msg)
        made = Object(key=write.key, uid=write.uid, revision=revision, document=write.document, created=write.created)
        return Entry(Change("ADDED", made), None)
    if current is None:
        msg = f"{write.key} not found"
        raise NotFound(msg)
    if isinstance(write, DeleteWrite):
        _expect(current, revision=write.revision, uid=write.uid)
        gone = Object(key=current.key, uid=current.uid, revision=revision, document=current.document, created=current.created)
        return Entry(Change("DELETED", gone), current)
    _expect(current, revision=write.item.revision, uid=write.item.uid)
    if _same(write, current):
        return None  # no write and no event: a controller that writes back what it read must not wake itself
    made = Object(key=current.key, uid=current.uid, revision=revision, document=write.item.document, created=current.created)
    return Entry(Change("MODIFIED", made), current)


def apply_all(writes: Iterable[Write], current: dict[Key, Object], revision: int) -> Batch:
    """Decides `writes` one after the other on top of `current`, numbering from `revision` + 1 without gaps.

    `current` holds the stored objects of all keys concerned, and afterwards what they have become.
    """
    outcomes: list[WriteOutcome] = []
    entries: list[Entry] = []
    for write in writes:
        stored = current.get(write.key)
        try:
            entry = apply(write, stored, revision + len(entries) + 1)
        except K3Error as refused:
            outcomes.append(refused)
            continue
        if entry is None:
            outcomes.append(current[write.key])
            continue
        entries.append(entry)
        outcomes.append(entry.change.object)
        if entry.change.type == "DELETED":
            del current[write.key]
        else:
            current[write.key] = entry.change.object
    return Batch(tuple(outcomes), tuple(entries))


def goes_ahead(write: UpdateWrite | DeleteWrite, known: Object) -> bool:
    """Whether the write would go ahead against a state that may be old. If not, the present state has to confirm it."""
    try:
        return apply(write, known, 0) is not None
    except K3Error:
        return False


def _check_storable(key: Key) -> None:
    if not is_storable(key):
        msg = f"{str(key)!r} not found"
        raise NotFound(msg)


def _expect(current: Object, *, revision: int | None, uid: str | None) -> None:
    if uid is not None and uid != current.uid:
        msg = f"{current.key} is another object now (uid {current.uid}); read it again"
        raise Conflict(msg)
    if revision is not None and revision != current.revision:
        msg = f"{current.key} was changed by somebody else (now at revision {current.revision}); read it again"
        raise Conflict(msg)


def _same(write: UpdateWrite, current: Object) -> bool:
    if write.item.document == current.document:
        return True
    try:
        stored = decode(current.document)
    except ValueError:  # what cannot be read is like nothing else
        return False
    return same_json(stored, write.manifest)
