"""Writes of the API: each reads the object, makes the new one of it, checks that, and writes it on the condition that it read.

Nothing is written blindly: where another writer was first, a patch is made anew of what is there then, and who named a
revision is told (409). What changes nothing is not written.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from k3.core import times
from k3.core.documents import same_json
from k3.core.errors import AlreadyExists, Conflict, NotFound
from k3.core.objects import EVENT, LEASE, NODE, Key, Kind, Manifest, Object
from k3.core.store import Store
from k3.server.options import WriteOptions
from k3.server.patching import managed
from k3.server.paths import Target
from k3.server.resources import NAMESPACE, NAMESPACES
from k3.server.schema import defaults, types, validation
from k3.server.status import Cause, Refused, already_exists, bad_request, conflict, invalid, modified, not_found

ATTEMPTS: Final = 16
"""How often a write is made anew after lost races, before its client is told."""

MAKES_BY_UPDATE: Final = {EVENT, LEASE}
"""Kinds that an update makes where they are not there."""
NEEDS_REVISION: Final = {LEASE}
"""Kinds that no update changes without saying of which revision."""

_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH: Final = 5
_GENERATED_BYTES: Final = 63
_FOUND: Final = ("uid", "creationTimestamp", "name", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
"""What no update changes in an object's metadata."""

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
class Preconditions:
    """What must be true of an object that is to be deleted; empty: whatever."""

    uid: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class _Made:
    """What is to become of an object. `is_named`: its client said of which revision it is."""

    old: Manifest
    new: Manifest
    is_named: bool
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
        _check_namespace(target, manifest)
        metadata = _metadata(manifest)
        if metadata.get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise Refused(500, message, reason="")
        for name in (
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
        ):
            metadata.pop(name, None)
        if target.namespace:
            metadata["namespace"] = target.namespace
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = _generated(metadata["generateName"])
        guard(None, manifest)
        defaults.apply(kind, manifest)
        validation.check_new(kind, manifest)
        if not is_apply:
            manifest = managed.updated(kind, None, manifest, _as_writer(target, options))
        return await self._made(kind, target.namespace, manifest, options)

    async def _made(self, kind: Kind, namespace: str, manifest: Manifest, options: WriteOptions) -> Written:
        key = Key(kind, manifest["metadata"]["name"], namespace)
        if options.dry_run:
            if await self._found(key) is not None:
                raise already_exists(kind, key.name)
            metadata = {**manifest["metadata"], "uid": _uid(), "creationTimestamp": _now()}
            return Written({**manifest, "metadata": metadata}, is_new=True)
        try:
            made = await self._store.create(key, manifest)
        except AlreadyExists as error:
            raise already_exists(kind, key.name) from error
        return Written(made.manifest(), is_new=True)

    async def update(self, target: Target, manifest: Manifest, options: WriteOptions, guard: Guard) -> Written:
        """Replaces an object, or its status. Raises Refused, Unavailable."""
        kind = target.resource.kind
        _check_namespace(target, manifest)
        metadata = _metadata(manifest)
        if not metadata.get("name"):
            metadata["name"] = target.name
        if metadata["name"] != target.name:
            message = f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
            raise bad_request(message)
        if target.namespace:
            metadata["namespace"] = target.namespace
        revision = str(metadata.get("resourceVersion") or "")
        if kind in MAKES_BY_UPDATE and not revision:
            found = await self._found(_key(target))
            if found is not None and kind in NEEDS_REVISION:
                why = "Invalid value: 0: must be specified for an update"
                raise invalid(kind, target.name, [Cause("FieldValueInvalid", why, "metadata.resourceVersion")])
            if found is None and not metadata.get("uid"):
                return await self.create(target, manifest, options, guard)
        return await self.change(target, lambda _old: {**manifest}, options, guard, revision=revision)

    async def apply(
        self, target: Target, applied: Callable[[Manifest | None], Manifest], options: WriteOptions, guard: Guard
    ) -> Written:
        """Makes an object what a client's configuration says of it, or makes it. Raises Refused, Unavailable."""
        if await self._found(_key(target)) is None and not target.subresource:
            wanted = applied(None)
            _check_namespace(target, wanted)
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
            is_named = _checked_preconditions(kind, old, new, target)
            new = _settled(old, new, target, options, is_apply=is_apply)
            guard(old, new)
            return _Made(old, new, is_named, _is_same(old, new))

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
            except Conflict as error:
                if found.is_named:
                    raise modified(kind, key.name) from error
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
            gone = await self._store.delete(current.key, revision=current.revision, uid=current.uid)
            metadata["resourceVersion"] = str(gone.revision)
            return Written(new)
        return Written((await self._store.update(current.with_manifest(new))).manifest())

    async def delete(self, target: Target, wanted: Preconditions, options: WriteOptions, guard: Guard) -> tuple[Manifest, bool]:
        """Removes an object; returns its last state, and whether it is gone: one with finalizers is only marked.

        Raises Refused, Unavailable.
        """
        kind, key = target.resource.kind, _key(target)
        for _ in range(ATTEMPTS):
            current = await self._read(key)
            manifest = current.manifest()
            guard(manifest, None)
            _check_deletion(kind, key.name, current, wanted)
            metadata = manifest["metadata"]
            waits = bool(metadata.get("finalizers"))
            if options.dry_run or (waits and metadata.get("deletionTimestamp")):
                return manifest, not waits
            try:
                if not waits:
                    return (await self._store.delete(key, revision=current.revision, uid=current.uid)).manifest(), True
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


def _metadata(manifest: Manifest) -> dict[str, Any]:
    found = manifest.get("metadata")
    manifest["metadata"] = found = dict(found) if isinstance(found, dict) else {}
    return found


def _check_namespace(target: Target, manifest: Manifest) -> None:
    if not target.resource.kind.namespaced:
        return
    said = (manifest.get("metadata") or {}).get("namespace") or ""
    if said and said != target.namespace:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(message)
    if target.namespace not in NAMESPACES:
        raise not_found(NAMESPACE, target.namespace)


def _checked_preconditions(kind: Kind, old: Manifest, new: Manifest, target: Target) -> bool:
    """Whether the client said of which revision its object is. Raises Refused where that, the uid or the name is another."""
    was, metadata = old["metadata"], _metadata(new)
    if metadata.get("name", target.name) != target.name:
        message = f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
        raise bad_request(message)
    uid = metadata.get("uid")
    if uid and uid != was["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {was['uid']}"
        raise conflict(kind, target.name, why)
    revision = metadata.get("resourceVersion")
    if revision and revision != was["resourceVersion"]:
        raise modified(kind, target.name)
    return bool(revision)


def _settled(old: Manifest, new: Manifest, target: Target, options: WriteOptions, *, is_apply: bool) -> Manifest:
    """Returns the new object with all that a write of this kind does not change as it was, checked. Raises Refused."""
    kind = target.resource.kind
    if target.subresource == "status":
        new = {**old, "metadata": new["metadata"], "status": new.get("status", {})}
    elif kind == NODE:
        new = {**new, "status": old.get("status", {})} if "status" in old else {k: v for k, v in new.items() if k != "status"}
    metadata = new["metadata"] = dict(new["metadata"])
    for name in (*_FOUND, "resourceVersion"):
        metadata.pop(name, None)
        if name in old["metadata"]:
            metadata[name] = old["metadata"][name]
    new = types.normalised(kind, {**new, "kind": kind.name, "apiVersion": kind.api_version})
    defaults.apply(kind, new)
    validation.check_update(kind, new, old, target.subresource)
    if is_apply:
        return new
    return managed.updated(kind, old, new, _as_writer(target, options))


def _is_same(old: Manifest, new: Manifest) -> bool:
    return old == new and same_json(old, new)


def _check_deletion(kind: Kind, name: str, current: Object, wanted: Preconditions) -> None:
    if wanted.uid and wanted.uid != current.uid:
        why = (
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({current.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise conflict(kind, name, why)
    if wanted.revision and wanted.revision != str(current.revision):
        why = (
            f"the ResourceVersion in the precondition ({wanted.revision}) does not match the ResourceVersion in record "
            f"({current.revision}). The object might have been modified"
        )
        raise conflict(kind, name, why)


def _generated(base: str) -> str:
    suffix = "".join(random.choices(_SUFFIX, k=_SUFFIX_LENGTH))  # noqa: S311 - tells names apart, guards nothing
    return base[: _GENERATED_BYTES - _SUFFIX_LENGTH] + suffix


def _uid() -> str:
    import uuid  # noqa: PLC0415 - only for a dry run

    return str(uuid.uuid4())


def _now() -> str:
    return times.timestamp(datetime.now(UTC))
