"""Copies every object of one store into another, through the Store port alone; may be repeated.

What the target has already is left as it is where only its identity differs (uid, creation time, revision are the
target's own), and brought up to date otherwise. Nothing is deleted there.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from k3.core.errors import AlreadyExists, Conflict, Invalid
from k3.core.objects import KINDS, Key, Kind, Manifest, Object
from k3.core.store import Page, Store, modify, pages

_IDENTITY: Final = ("uid", "resourceVersion", "creationTimestamp")

Progress = Callable[[int, int], None]
"""Told how many objects are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was done for one kind."""

    created: int
    updated: int
    same: int
    others: int
    """Objects of the target that the source has not; they stay."""

    @property
    def total(self) -> int:
        """How many objects the source has."""
        return self.created + self.updated + self.same


async def copy(source: Store, target: Store, *, progress: Progress) -> Mapping[Kind, Copied]:
    """Copy all kinds, each as of one revision of the source, then see that the target has them.

    Raises Invalid for a store onto itself, Conflict where objects are missing from the target in the end, Expired where
    the source forgot its history meanwhile, Unavailable.
    """
    if source.id == target.id:
        msg = f"{source.url} and {target.url} are the same store"
        raise Invalid(msg)
    keys = {kind: [item.key async for page in pages(source, kind) for item in page.objects] for kind in KINDS}
    total = sum(map(len, keys.values()))
    done: dict[Kind, Copied] = {}
    passed = 0
    for kind in KINDS:
        did: list[str] = []
        async for page in pages(source, kind):
            did += await _copy_page(page, target)
            progress(passed + len(did), total)
        passed += len(did)
        others = await _verify(target, kind, set(keys[kind]))
        done[kind] = Copied(did.count("created"), did.count("updated"), did.count("same"), others)
    return done


async def _copy_page(page: Page, target: Store) -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_copy_one(item, target)) for item in page.objects]
    return [task.result() for task in tasks]


async def _copy_one(item: Object, target: Store) -> str:
    """`created`, `updated` or `same`."""
    wanted = item.manifest()
    try:
        await target.create(item.key, wanted)
    except AlreadyExists:
        did = "same"

        def change(found: Manifest) -> Manifest | None:
            nonlocal did
            if _content(found) == _content(wanted):
                return None
            did = "updated"
            identity = {name: text for name, text in found["metadata"].items() if name in _IDENTITY}
            return {**wanted, "metadata": {**wanted["metadata"], **identity}}

        await modify(target, item.key, change)
        return did
    return "created"


def _content(manifest: Manifest) -> Manifest:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _IDENTITY}
    return {**manifest, "metadata": metadata}


async def _verify(target: Store, kind: Kind, keys: set[Key]) -> int:
    """How many others of the kind the target has. Raises Conflict where one of `keys` is missing."""
    found = {item.key async for page in pages(target, kind) for item in page.objects}
    if missing := keys - found:
        some = ", ".join(sorted(map(str, missing))[:3])
        msg = f"{target.url} lacks {len(missing)} of {len(keys)} {kind.plural} ({some}): does somebody delete there? Copy again"
        raise Conflict(msg)
    return len(found - keys)
