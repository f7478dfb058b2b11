"""Another process on the same store, whichever it is: how a test starts it, and what it does.

It opens the store, says `ready`, waits for a byte, does one thing, prints what came of it. With PROCESSES over one there
are as many of them behind one pair of pipes. K3_STORE_PASSWORD holds the store's password, if it has one.

python worker.py URL PROCESSES VERB ARGUMENT...     The verbs are the functions in VERBS.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from k3.core.errors import AlreadyExists, Conflict, Expired, K3Error, Unavailable
from k3.core.objects import NODE, Key, Object
from k3.core.store import Change, Store
from k3.settings.load import Flags, Place, load
from k3.stores import connect

HANG_SECONDS = 60.0
NOBODY = 65534
LANES = 8


# --- In the test ------------------------------------------------------------------------------------------------------


class Start(Protocol):
    def __call__(self, *arguments: object, url: str = ..., processes: int = 1) -> Awaitable["Worker"]: ...


@dataclass(frozen=True, slots=True)
class Worker:
    """One or more processes on the same store."""

    process: asyncio.subprocess.Process
    processes: int
    hang_seconds: float

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(self.hang_seconds):
            return (await self.process.stdout.readline()).decode().strip()

    async def go(self) -> None:
        """Begin. Each is ready by now."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n" * self.processes)
        await self.process.stdin.drain()

    async def rest(self) -> list[str]:
        assert self.process.stdout is not None
        async with asyncio.timeout(self.hang_seconds):
            return (await self.process.stdout.read()).decode().split("\n")[:-1]

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


def command(url: str, *arguments: object, processes: int = 1) -> list[str]:
    """How it is run."""
    return [sys.executable, str(Path(__file__)), url, *map(str, (processes, *arguments))]


def environment(password: str = "") -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "K3_STORE_PASSWORD": password}


@contextlib.asynccontextmanager
async def starter(url: str, *, password: str = "", hang_seconds: float = HANG_SECONDS) -> AsyncIterator[Start]:
    """Starts workers, each ready when it is handed out, and ends them all."""
    workers: list[Worker] = []

    async def start(*arguments: object, url: str = url, processes: int = 1) -> Worker:
        process = await asyncio.create_subprocess_exec(
            *command(url, *arguments, processes=processes),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment(password),
        )
        worker = Worker(process, processes, hang_seconds)
        workers.append(worker)
        for _ in range(processes):
            assert await worker.line() == "ready"
        return worker

    try:
        yield start
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))


# --- In the other process ---------------------------------------------------------------------------------------------


async def create(store: Store, name: str) -> None:
    try:
        say((await store.create(Key(NODE, name), {})).uid)
    except AlreadyExists:
        say("taken")


async def write(store: Store, number: str, prefix: str) -> None:
    """One more for each further byte."""
    for index in range(int(number)):
        if index:
            wait()
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
    """One after the other, until one fails."""
    for index in count():
        await _create_and_say(store, f"{prefix}-{index}")


async def regardless(store: Store, prefix: str) -> None:
    """Several at a time, whatever happens to the server; says what was acknowledged."""

    async def one(lane: int) -> None:
        for index in count():
            try:
                await _create_and_say(store, f"{prefix}-{lane}-{index}")
            except Unavailable:
                await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        for lane in range(LANES):
            group.create_task(one(lane))


async def _create_and_say(store: Store, name: str) -> None:
    made = await store.create(Key(NODE, name), {"x": "x" * 3000})
    say(f"{name} {made.revision}")


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


VERBS: dict[str, Callable[..., Awaitable[None]]] = {
    "create": create,
    "write": write,
    "contend": contend,
    "forever": forever,
    "regardless": regardless,
    "watch": watch,
    "open": identify,
    "fill": fill,
    "as-nobody": identify,
}


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def wait() -> None:
    os.read(0, 1)  # one byte for each process, which a buffer would take for itself


def become_nobody() -> None:
    import k3.stores.sqlite.store  # noqa: F401, PLC0415 - while the code may still be read

    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


async def main(url: str, verb: str, *arguments: str) -> None:
    settings = load(
        Flags(store=url), Place({"K3_STORE_PASSWORD": os.environ["K3_STORE_PASSWORD"]}, is_root=False), reading=False
    )
    if verb == "as-nobody":
        become_nobody()
    try:
        store = await connect(settings.storage)
        try:
            say("ready")
            wait()
            await VERBS[verb](store, *arguments)
        finally:
            await store.aclose()
    except K3Error as error:
        say(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    url, processes, *rest = sys.argv[1:]
    if any(os.fork() == 0 for _ in range(int(processes) - 1)):
        asyncio.run(main(url, *rest))
        os._exit(0)
    asyncio.run(main(url, *rest))
    for _ in range(int(processes) - 1):
        os.wait()
