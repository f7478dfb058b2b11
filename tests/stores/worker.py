"""Another process on the same SQLite file: opens it, says `ready`, waits for a line, does one thing, prints what came of it.

python worker.py PATH create NAME | write COUNT PREFIX | contend COUNT NAME | forever PREFIX | fill PREFIX | open | as-nobody
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from k3.core.errors import AlreadyExists, Conflict, K3Error
from k3.core.objects import NODE, Key, Object
from k3.core.store import Store
from k3.stores.sqlite import SqliteStore


async def create(store: Store, name: str) -> None:
    try:
        say((await store.create(Key(NODE, name), {})).uid)
    except AlreadyExists:
        say("taken")


async def write(store: Store, number: str, prefix: str) -> None:
    """One more for each further line."""
    for index in range(int(number)):
        if index:
            sys.stdin.readline()
        say((await store.create(Key(NODE, f"{prefix}-{index}"), {})).revision)


async def contend(store: Store, number: str, prefix: str) -> None:
    """One write in ten begins from what has been overwritten meanwhile, as a slow reader's would."""
    item = stale = await store.create(Key(NODE, prefix), {"n": 0})
    for index in range(int(number)):
        wanted = (stale if index % 10 == 9 else item).with_manifest({**item.manifest(), "n": index + 1})
        try:
            stale, item = item, await store.update(wanted)
            say(item.revision)
        except Conflict:
            say("conflict")


async def forever(store: Store, prefix: str) -> None:
    for index in count():
        made = await store.create(Key(NODE, f"{prefix}-{index}"), {"x": "x" * 3000})
        say(f"{made.key.name} {made.revision}")


async def fill(store: Store, prefix: str) -> None:
    """Write until the disk is full, then delete something and see what is there."""
    made: list[Object] = []
    try:
        while True:
            made.append(await store.create(Key(NODE, f"{prefix}-{len(made)}"), {"x": "x" * 3000}))
    except K3Error as error:
        say(f"{type(error).__name__}: {error}")
    listed = {item.key: item for item in (await store.list(NODE)).objects}
    if any(listed.get(item.key) != item for item in made):
        say("lost")
        return
    (Path(store.url.removeprefix("sqlite://")).parent / "ballast").unlink()
    await store.create(Key(NODE, "again"), {})
    say("every acknowledged object is there, and there is room again")


async def identify(store: Store) -> None:
    say(store.id)


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(path: str, verb: str, *arguments: str) -> None:
    store = SqliteStore(Path(path))
    if verb == "as-nobody":
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        await store.open()
        say("ready")
        sys.stdin.readline()
        await VERBS[verb](store, *arguments)
    except K3Error as error:
        say(f"{type(error).__name__}: {error}")
    finally:
        await store.aclose()


NOBODY = 65534
VERBS: dict[str, Callable[..., Awaitable[None]]] = {
    "create": create,
    "write": write,
    "contend": contend,
    "forever": forever,
    "open": identify,
    "fill": fill,
    "as-nobody": identify,
}

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
