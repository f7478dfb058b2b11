"""k3's own server, in this process, over a store in memory that holds nothing."""

import asyncio
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from k3.agent.faults import Faults
from k3.server.access.settings import AccessSettings
from k3.server.serving import Serving
from k3.settings.listen import Listen
from k3.stores.memory import MemoryStore
from tests.server.beside.asking import Answer, Place, Scene

AT_ONCE: Final = 24
"""Scenes that are played at once: those with watches wait most of their time."""


def own_answers(scenes: Sequence[Scene]) -> dict[str, list[Answer]]:
    """Returns the answers of scenes, each played on a server of its own, all at once."""
    return asyncio.run(_all(scenes))


async def _all(scenes: Sequence[Scene]) -> dict[str, list[Answer]]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(AT_ONCE))
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(played: Scene) -> list[Answer]:
        async with turns:
            return await _played(played)

    found = await asyncio.gather(*(one(each) for each in scenes))
    return {each.name: answers for each, answers in zip(scenes, found, strict=True)}


async def _played(played: Scene) -> list[Answer]:
    settings = AccessSettings(listen=Listen("127.0.0.1", 0))
    with tempfile.TemporaryDirectory(prefix="k3-beside-") as folder:
        serving = Serving(MemoryStore(), settings, Path(folder), Faults(), frozenset)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(serving.run())
            await asyncio.wait_for(serving.started.wait(), 5)
            answers = await asyncio.to_thread(Place(host="127.0.0.1", port=serving.port).play, played)
            running.cancel()
        return answers
