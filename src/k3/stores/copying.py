"""Copies every object of one store into another, through the Store port alone; may be repeated.

What the target has already is left as it is, and counted where it differs in more than its identity (uid, creation time and
revision are the target's own); told to overwrite, it is brought up to date. Nothing is deleted there. Of a kind that the target
does not keep, as a Kubernetes API keeps no tokens of k3's, everything is left out, and counted.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, get_args

from k3.core.documents import same_json
from k3.core.errors import AlreadyExists, Conflict, Invalid
from k3.core.objects import KINDS, Key, Kind, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Store, kinds_of, modify, pages

_IDENTITY: Final = ("uid", "resourceVersion", "creationTimestamp")

Progress = Callable[[int, int], None]
"""Called with how many objects are done, and of how many."""


Did = Literal["created", "updated", "same", "left"]
"""What became of one object: `left` is one that differs in the target and stays as it is there."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was done for one kind."""

    counts: Mapping[Did, int]
    others: int
    """Objects of the target that the source has not; they stay."""
    unreadable: int = 0
    """Objects of the source that cannot be read; they are not copied."""
    left_out: int = 0
    """Objects of a kind that the target does not keep."""

    @property
    def total(self) -> int:
        """How many objects the target now has as the source has them."""
        return sum(self.counts.values()) - self.counts.get("left", 0)


async def copy(source: Store, target: Store, *, progress: Progress, overwrite: bool = False) -> Mapping[Kind, Copied]:
    """Copies all kinds, each as of one revision of the source, then sees that the target has them.

    `overwrite`: what differs in the target is replaced, not left. Raises Invalid for a store onto itself, Conflict where
    objects are missing from the target in the end, Expired where the source forgot its history meanwhile, Unavailable.
    """
    if source.id == target.id:
        msg = f"{source.url} and {target.url} are the same store"
        raise Invalid(msg)
    keys = {kind: [item.key async for page in pages(source, kind) for item in page.objects] for kind in KINDS}
    total = sum(map(len, keys.values()))
    done: dict[Kind, Copied] = {}
    passed = 0
    for kind in KINDS:
        if kind not in kinds_of(target):
            passed += len(keys[kind])
            done[kind] = Copied({}, 0, left_out=len(keys[kind]))
            progress(passed, total)
            continue
        did: list[Did] = []
        odd: set[Key] = set()
        async for page in pages(source, kind):
            readable = [item for item in page.objects if not item.unreadable]
            odd |= {item.key for item in page.objects} - {item.key for item in readable}
            did += await _copy_all(readable, target, overwrite=overwrite)
            progress(passed + len(did) + len(odd), total)
        passed += len(did) + len(odd)
        others = await _verify(target, kind, set(keys[kind]) - odd)
        done[kind] = Copied({each: did.count(each) for each in get_args(Did)}, others, len(odd))
    return done


async def _copy_all(items: Iterable[Object], target: Store, *, overwrite: bool) -> list[Did]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_copy_one(item, target, overwrite=overwrite)) for item in items]
    return [task.result() for task in tasks]


async def _copy_one(item: Object, target: Store, *, overwrite: bool) -> Did:
    wanted = item.manifest()
    try:
        await target.create(item.key, wanted)
    except AlreadyExists:
        did: Did = "same"

        def change(found: Manifest) -> Manifest | None:
            nonlocal did
            if same_json(_content(found), _content(wanted)):
                did = "same"
                return None
            did = "updated" if overwrite else "left"
            if not overwrite:
                return None
            identity = {name: text for name, text in found["metadata"].items() if name in _IDENTITY}
            return {**wanted, "metadata": {**wanted["metadata"], **identity}}

        await modify(target, item.key, change)
        return did
    return "created"


def _content(manifest: Manifest) -> Manifest:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _IDENTITY}
    return {**manifest, "metadata": metadata}


async def _verify(target: Store, kind: Kind, keys: set[Key]) -> int:
    """Returns how many others of the kind the target has. Raises Conflict where one of `keys` is missing."""
    found = {item.key async for page in pages(target, kind) for item in page.objects}
    if missing := keys - found:
        some = ", ".join(sorted(map(str, missing))[:3])
        msg = f"{target.url} lacks {len(missing)} of {len(keys)} {kind.plural} ({some}): does somebody delete there? Copy again"
        raise Conflict(msg)
    return len(found - keys)
