"""Where tests of the MySQL backend keep their data, and other processes on it.

As a program, other processes on the same database: each opens it, says `ready`, waits for a byte, does one thing, prints
what came of it. The password comes from K3_STORE_PASSWORD.

python mysql_places.py HOST PORT DATABASE PROCESSES create NAME | contend COUNT NAME | forever PREFIX | watch SINCE
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from weakref import WeakSet

from k3.config import MysqlStorage
from k3.core.errors import AlreadyExists, Conflict, Expired, Unavailable
from k3.core.objects import NODE, Key
from k3.core.store import Change, Store
from k3.stores.mysql import open_store
from k3.testing.leaks import LeakCheck
from tests.lab import until
from tests.servers import Mariadb

HANG_SECONDS = 60.0
_prepared: "WeakSet[asyncio.AbstractEventLoop]" = WeakSet()


def storage_on(server: Mariadb, database: str) -> MysqlStorage:
    """An empty database."""
    return MysqlStorage(server.address, server.port, server.user, server.password, server.new_database(database))


def freeze(server: Mariadb) -> None:
    """Stop it without ending it; every thread stands still when this returns."""
    server.process.freeze()
    threads = Path(f"/proc/{server.process.pid}/task")
    until(lambda: all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads.iterdir()))


async def leak_check() -> LeakCheck:
    """From here on; the loop's thread for names is there already, as it stays, and there is only one."""
    loop = asyncio.get_running_loop()
    if loop not in _prepared:
        _prepared.add(loop)
        loop.set_default_executor(ThreadPoolExecutor(1))
        await loop.getaddrinfo("localhost", None)
    return LeakCheck()


async def settled(leaks: LeakCheck) -> None:
    """Nothing is left, once what takes a moment to end (TLS, a proxy, a process) has ended."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            try:
                leaks.finish()
            except AssertionError:
                await asyncio.sleep(0.01)
            else:
                return


class Worker:
    """One or more processes on the same database."""

    def __init__(self, process: asyncio.subprocess.Process, count: int) -> None:
        self.process = process
        self._count = count

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(HANG_SECONDS):
            return (await self.process.stdout.readline()).decode().strip()

    async def go(self) -> None:
        """Begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n" * self._count)
        await self.process.stdin.drain()

    async def rest(self) -> list[str]:
        assert self.process.stdout is not None
        async with asyncio.timeout(HANG_SECONDS):
            return (await self.process.stdout.read()).decode().split("\n")[:-1]

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


async def start_worker(storage: MysqlStorage, *arguments: object, processes: int = 1) -> Worker:
    """One that is ready."""
    place = (storage.host, storage.port, storage.database, processes)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__)), *map(str, (*place, *arguments))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "K3_STORE_PASSWORD": storage.password},
    )
    worker = Worker(process, processes)
    for _ in range(processes):
        assert await worker.line() == "ready"
    return worker


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


async def forever(store: Store, prefix: str) -> None:
    """Eight at a time, whatever happens to the server; says what was acknowledged."""

    async def one(lane: int) -> None:
        for index in count():
            name = f"{prefix}-{lane}-{index}"
            try:
                made = await store.create(Key(NODE, name), {"x": "x" * 3000})
                say(f"{name} {made.revision}")
            except Unavailable:
                await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        for lane in range(8):
            group.create_task(one(lane))


async def watch(store: Store, since: str) -> None:
    """Says each change's revision, and goes on behind it whenever the watch ends."""
    seen = int(since)
    while True:
        try:
            async with store.watch(NODE, seen) as events:
                async for event in events:
                    if isinstance(event, Change):
                        seen = event.object.revision
                        say(seen)
        except Unavailable:
            await asyncio.sleep(0.05)
        except Expired:
            say("expired")
            return


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(host: str, port: str, database: str, verb: str, *arguments: str) -> None:
    password = os.environ["K3_STORE_PASSWORD"]
    store = await open_store(MysqlStorage(host, int(port), password=password, database=database))
    try:
        say("ready")
        os.read(0, 1)  # one byte for each process, which a buffer would take for itself
        await VERBS[verb](store, *arguments)
    finally:
        await store.aclose()


VERBS: dict[str, Callable[..., Awaitable[None]]] = {"create": create, "contend": contend, "forever": forever, "watch": watch}

if __name__ == "__main__":
    host, port, database, processes, *rest = sys.argv[1:]
    if any(os.fork() == 0 for _ in range(int(processes) - 1)):
        asyncio.run(main(host, port, database, *rest))
        os._exit(0)
    asyncio.run(main(host, port, database, *rest))
    for _ in range(int(processes) - 1):
        os.wait()
