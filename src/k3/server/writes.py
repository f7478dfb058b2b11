"""Writes of the API: each reads the object, makes the new one of it, checks that, and writes it on the condition that it read.

Nothing is written blindly: where another writer was first, a patch is made anew of what is there then, and who named a
revision is told (409). What changes nothing is not written.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from k3.core import times
from k3.core.errors import AlreadyExists, Conflict, NotFound
from k3.core.objects import EVENT, LEASE, NODE, Key, Kind, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Store
from k3.server.options import DeleteOptions, WriteOptions
from k3.server.patching import managed
from k3.server.paths import Target
from k3.server.preconditions import (
    check_deletion,
    check_name,
    check_named,
    check_namespace,
    metadata_of,
    no_revision,
    number_of,
    other_uid,
    taken,
)
from k3.server.schema import defaults, types, validation
from k3.server.status import Cause, Refused, already_exists, invalid, modified, not_found

ATTEMPTS: Final = 16
"""How often a write is made anew after lost races, before its client is told."""

MAKES_BY_UPDATE: Final = {EVENT, LEASE}
"""Kinds that an update makes where they are not there."""
_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH: Final = 5
_GENERATED_BYTES: Final = 63
_FOUND: Final = (
    "creationTimestamp",
    "generation",
    "name",
    "namespace",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "resourceVersion",
)
"""What no update changes in an object's metadata."""
_KEPT_TO_BE_REFUSED: Final = ("deletionTimestamp", "deletionGracePeriodSeconds")
"""What no client may set: it deletes."""

Change = Callable[[Manifest], Manifest]
"""Makes the new object of the one that is there, and leaves that as it is. Raises Refused."""

Guard = Callable[[Manifest | None, Manifest | None], None]
"""Raises Refused where the client may not make the second of the first; None: nothing is there, or will be."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write has led to."""

    manifest: Manifest
    is_new: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Made:
    """What is to become of an object."""

    old: Manifest
    new: Manifest
    is_same: bool


class Writer:
    """All writes to one store."""

    def __init__(self, store: Store, known: Callable[[Key], Object | None]) -> None:
        """`known` returns an object as it was lately, without asking the store."""
        self._store = store
        self._known = known

    async def create(
        self, target: Target, manifest: Manifest, options: WriteOptions, guard: Guard, *, is_apply: bool = False
    ) -> Written:
        """Makes an object. Raises Refused, Unavailable."""
        kind = target.resource.kind
        check_namespace(target, manifest)
        metadata = metadata_of(manifest)
        if number_of(metadata.get("resourceVersion") or "0"):
            message = "resourceVersion should not be set on objects to be created"
            raise Refused(500, message, reason="")
        for name in (
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
            "namespace",
        ):
            metadata.pop(name, None)
        if target.namespace:
            metadata["namespace"] = target.namespace
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = _generated(metadata["generateName"])
        guard(None, manifest)
        defaults.apply(kind, manifest)
        if not is_apply:
            manifest = managed.updated(kind, None, manifest, _as_writer(target, options))
        validation.check_new(kind, manifest)
        return await self._made(kind, target.namespace, manifest, options)

    async def _made(self, kind: Kind, namespace: str, manifest: Manifest, options: WriteOptions) -> Written:
        key = Key(kind, manifest["metadata"]["name"], namespace)
        if options.dry_run:
            if (there := await self._found(key)) is not None:
                raise taken(there)
            metadata = {**manifest["metadata"], "uid": str(uuid4()), "creationTimestamp": _now()}
            return Written({**manifest, "metadata": metadata}, is_new=True)
        try:
            made = await self._store.create(key, manifest)
        except AlreadyExists as error:
            there = await self._found(key)
            raise already_exists(kind, key.name) if there is None else taken(there) from error
        return Written(made.manifest(), is_new=True)

    async def update(self, target: Target, manifest: Manifest, options: WriteOptions, guard: Guard) -> Written:
        """Replaces an object, or its status. Raises Refused, Unavailable."""
        kind = target.resource.kind
        check_namespace(target, manifest)
        metadata = metadata_of(manifest)
        check_name(target, metadata)
        if target.namespace:
            metadata["namespace"] = target.namespace
        revision, uid = str(metadata.get("resourceVersion") or ""), metadata.get("uid") or ""
        number = number_of(revision or "0")
        if number is None:
            raise no_revision(revision)
        if not number:
            metadata.pop("resourceVersion", None)

        def change(old: Manifest) -> Manifest:
            validation.check_conditional(kind, manifest)
            if uid not in {"", old["metadata"]["uid"]}:
                raise other_uid(target, uid, old["metadata"]["uid"])
            return {**manifest}

        try:
            named = str(metadata.get("resourceVersion") or "")
            return await self.change(target, change, options, guard, revision=named)
        except Refused as refused:
            if refused.reason != "NotFound" or kind not in MAKES_BY_UPDATE:
                raise
        return await self._made_by_update(target, manifest, options, guard)

    async def _made_by_update(self, target: Target, manifest: Manifest, options: WriteOptions, guard: Guard) -> Written:
        metadata = metadata_of(manifest)
        metadata.pop("resourceVersion", None)
        if uid := metadata.get("uid"):
            raise other_uid(target, uid, "")
        return await self.create(target, manifest, options, guard)

    async def apply(
        self, target: Target, applied: Callable[[Manifest | None], Manifest], options: WriteOptions, guard: Guard
    ) -> Written:
        """Makes an object what a client's configuration says of it, or makes it. Raises Refused, Unavailable."""
        if await self._found(_key(target)) is None and not target.subresource:
            kind = target.resource.kind
            wanted = applied(None)
            check_namespace(target, wanted)
            metadata = metadata_of(wanted)
            check_name(target, metadata)
            if uid := metadata.get("uid"):
                cause = Cause("FieldValueInvalid", f'Invalid value: "{uid}": field is immutable', "metadata.uid")
                raise invalid(kind, target.name, [cause])
            metadata.pop("resourceVersion", None)
            wanted = types.normalised(kind, wanted)
            try:
                return await self.create(target, wanted, options, guard, is_apply=True)
            except Refused as refused:
                if refused.reason != "AlreadyExists":
                    raise
        return await self.change(target, applied, options, guard, is_apply=True)

    async def change(
        self,
        target: Target,
        change: Change,
        options: WriteOptions,
        guard: Guard,
        *,
        is_apply: bool = False,
        revision: str = "",
    ) -> Written:
        """Changes an object, or its status. Raises Refused, Unavailable.

        `is_apply`: the change settles itself who owns which field. `revision`: the one that the client names, where that is
        known beforehand.
        """
        kind, key = target.resource.kind, _key(target)

        def made(current: Object) -> _Made:
            old = current.manifest()
            new = change(old)
            check_named(kind, old, new, target)
            new = _settled(old, new, target, options, is_apply=is_apply)
            guard(old, new)
            return _Made(old, new, managed.is_no_write(old, new))

        lately = None if options.dry_run else self._known(key)
        if lately is not None and revision in {"", str(lately.revision)}:
            written = await self._by_what_is_known(lately, made)
            if written is not None:
                return written
        for _ in range(ATTEMPTS):
            current = await self._read(key)
            found = made(current)
            if found.is_same or options.dry_run:
                return Written(found.old if found.is_same else found.new)
            try:
                return await self._write(current, found.new)
            except Conflict:
                continue  # who named a revision is refused at the next look
            except NotFound as error:
                raise not_found(kind, key.name) from error
        raise modified(kind, key.name)

    async def _by_what_is_known(self, lately: Object, made: Callable[[Object], "_Made"]) -> Written | None:
        """Writes without reading first, on the condition that the object is as a watch last showed it: most are.

        None: it has not been written, and only what the store has now can tell why.
        """
        try:
            found = made(lately)
            return None if found.is_same else await self._write(lately, found.new)
        except (Refused, Conflict, NotFound):
            return None

    async def _write(self, current: Object, new: Manifest) -> Written:
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            await self._store.delete(current.key, revision=current.revision, uid=current.uid)
            return Written(new)
        return Written((await self._store.update(current.with_manifest(new))).manifest())

    async def delete(self, target: Target, options: DeleteOptions, guard: Guard) -> tuple[Manifest, bool]:
        """Removes an object; returns its last state, and whether it is gone: one with finalizers is only marked.

        What belongs to it stays: no kind of the store's owns another, so that no policy has anything to wait for.
        Raises Refused, Unavailable.
        """
        kind, key = target.resource.kind, _key(target)
        for _ in range(ATTEMPTS):
            current = await self._read(key)
            manifest = current.manifest()
            guard(manifest, None)
            check_deletion(kind, current, options)
            metadata = manifest["metadata"]
            waits = bool(metadata.get("finalizers"))
            if options.dry_run or (waits and metadata.get("deletionTimestamp")):
                return manifest, not waits
            try:
                if not waits:
                    await self._store.delete(key, revision=current.revision, uid=current.uid)
                    return manifest, True
                metadata |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
                return (await self._store.update(current.with_manifest(manifest))).manifest(), False
            except Conflict:
                continue
            except NotFound as error:
                raise not_found(kind, key.name) from error
        raise modified(kind, key.name)

    async def _read(self, key: Key) -> Object:
        try:
            return await self._store.get(key)
        except NotFound as error:
            raise not_found(key.kind, key.name) from error

    async def _found(self, key: Key) -> Object | None:
        try:
            return await self._store.get(key)
        except NotFound:
            return None


def _as_writer(target: Target, options: WriteOptions) -> managed.Writer:
    return managed.Writer(options.manager, _now(), target.subresource)


def _key(target: Target) -> Key:
    return Key(target.resource.kind, target.name, target.namespace)


def _settled(old: Manifest, new: Manifest, target: Target, options: WriteOptions, *, is_apply: bool) -> Manifest:
    """Returns the new object with all that a write of this kind does not change as it was, checked. Raises Refused."""
    kind = target.resource.kind
    if target.subresource == "status":
        new = {**old, "metadata": new["metadata"], "status": new.get("status", {})}
    elif kind == NODE:
        new = {**new, "status": old.get("status", {})} if "status" in old else {k: v for k, v in new.items() if k != "status"}
    metadata, was = dict(new["metadata"]), old["metadata"]
    new["metadata"] = metadata
    for name in _FOUND:
        if name in was or name not in _KEPT_TO_BE_REFUSED:
            metadata.pop(name, None)
        if name in was:
            metadata[name] = was[name]
    if not metadata.get("uid"):
        metadata["uid"] = was["uid"]
    new = types.normalised(kind, {**new, "kind": kind.name, "apiVersion": kind.api_version})
    defaults.apply(kind, new)
    if not is_apply:
        new = managed.updated(kind, old, new, _as_writer(target, options))
    validation.check_update(kind, new, old, target.subresource)
    return new


def _generated(base: str) -> str:
    suffix = "".join(random.choices(_SUFFIX, k=_SUFFIX_LENGTH))  # noqa: S311 - tells names apart, guards nothing
    return base[: _GENERATED_BYTES - _SUFFIX_LENGTH] + suffix


def _now() -> str:
    return times.timestamp(datetime.now(UTC).replace(microsecond=0))
