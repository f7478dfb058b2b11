"""`k3 server` as a process, ended in the middle of everything and started again: its clients go on, and miss nothing."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes.client
import pytest
from kubernetes.informer import SharedInformer

from tests.server.running import server_process
from tests.servers.server import Server

pytestmark = pytest.mark.slow
ROUNDS = 2
WRITES = 40
NAMES = {f"web{turn}-{number}" for turn in range(ROUNDS) for number in range(WRITES)}


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    with server_process(f"sqlite:///{tmp_path / 'k3.db'}") as found:
        yield found
        assert "Traceback" not in found.process.text


async def put(session: aiohttp.ClientSession, server: Server, name: str) -> None:
    """Makes a Node, again and again until it is told that it is there."""
    while True:
        try:
            async with session.post(f"{server.endpoint}/api/v1/nodes", json={"metadata": {"name": name}}) as answer:
                if answer.status in {201, 409}:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.02)


async def follow(session: aiohttp.ClientSession, server: Server, query: str, seen: list[tuple[int, str]]) -> None:
    """Watches as a client does: behind the last event that it has seen, or, if that is too long ago, behind a new list."""
    revision = 0
    nodes = f"{server.endpoint}/api/v1/nodes"
    while True:
        try:
            async with session.get(f"{nodes}?watch=1&resourceVersion={revision}&{query}") as answer:
                if answer.status == 410:
                    revision = await listed(session, nodes, revision, seen)
                    continue
                assert answer.status == 200, await answer.text()
                async for line in answer.content:
                    event = json.loads(line)
                    assert event["type"] in {"ADDED", "BOOKMARK"}, event
                    metadata = event["object"]["metadata"]
                    revision = int(metadata["resourceVersion"])
                    if event["type"] == "ADDED":
                        seen.append((revision, metadata["name"]))
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)


async def listed(session: aiohttp.ClientSession, nodes: str, revision: int, seen: list[tuple[int, str]]) -> int:
    """Returns the revision of a list; what is newer there than the last event is seen by it."""
    async with session.get(nodes) as answer:
        assert answer.status == 200, await answer.text()
        found = await answer.json()
    items = [(int(each["metadata"]["resourceVersion"]), each["metadata"]["name"]) for each in found["items"]]
    seen += sorted(item for item in items if item[0] > revision)
    return int(found["metadata"]["resourceVersion"])


async def test_watchers_and_an_informer_go_on_after_the_server_was_killed(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(kubernetes.client.ApiClient(kubernetes.client.Configuration(host=server.endpoint)))
        core: Any = kubernetes.client.CoreV1Api(client)
        informer = SharedInformer(list_func=core.list_node)  # type: ignore[no-untyped-call]
        informer.start()  # type: ignore[no-untyped-call]
        stack.callback(informer.stop)
        stack.callback(server.close)  # first: an informer that is told to stop between two watches waits for the next one's end
        seen: dict[str, list[tuple[int, str]]] = {"": [], "allowWatchBookmarks=true": []}
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            followers = [tasks.create_task(follow(session, server, query, found)) for query, found in seen.items()]
            for turn in range(ROUNDS):
                async with asyncio.TaskGroup() as killing:
                    if turn:
                        killing.create_task(asyncio.to_thread(again, server, 0.3))
                    for number in range(WRITES):
                        await put(session, server, f"web{turn}-{number}")
            await until(lambda: all(len(found) >= len(NAMES) for found in seen.values()))
            await until(lambda: {each.metadata.name for each in informer.cache.list()} == NAMES)
            for follower in followers:
                follower.cancel()
    for found in seen.values():
        assert found == sorted(set(found))
        assert {name for _, name in found} == NAMES


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - a client in a thread has no event
            await asyncio.sleep(0.05)


def again(server: Server, seconds: float) -> None:
    """Kills the server after a while, and starts it again."""
    threading.Event().wait(seconds)
    server.close()
    server.start()
