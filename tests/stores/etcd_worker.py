"""Another process on the same etcd: opens it, says `ready`, waits for a line, does one thing, prints what came of it.

python etcd_worker.py ENDPOINT PREFIX create NAME | contend COUNT NAME | write COUNT PREFIX
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from k3.config import EtcdStorage
from k3.core.errors import AlreadyExists, Conflict
from k3.core.objects import NODE, Key
from k3.core.store import Store
from k3.stores.etcd import open_store


async def create(store: Store, name: str) -> None:
    try:
        say((await store.create(Key(NODE, name), {})).uid)
    except AlreadyExists:
        say("taken")


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


async def write(store: Store, number: str, prefix: str) -> None:
    """One every 5 ms; the document holds the time of writing, by the clock that all processes of a machine share."""
    for index in range(int(number)):
        await asyncio.sleep(0.005)
        await store.create(Key(NODE, f"{prefix}-{index}"), {"x": "x" * 3_000, "at": time.monotonic()})


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(endpoint: str, prefix: str, verb: str, *arguments: str) -> None:
    store = await open_store(EtcdStorage((endpoint,), prefix=prefix, compact=False))
    try:
        say("ready")
        sys.stdin.readline()
        await VERBS[verb](store, *arguments)
    finally:
        await store.aclose()


VERBS: dict[str, Callable[..., Awaitable[None]]] = {"create": create, "contend": contend, "write": write}

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
