"""Watches of every form: each change once, in order, whatever becomes of the connection, the server or its store."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from k3.core import limits
from k3.core.objects import NODE
from k3.server import watching
from k3.server.options import ReadOptions
from k3.server.outlet import Outlet
from k3.server.selectors import Selection
from k3.server.shapes import Plain
from k3.stores import connect
from k3.stores.sqlite import SqliteStorage
from tests.server.running import Running, running

INITIAL: Final = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA: Final = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"


def revision_of(item: Any) -> int:
    """Returns the revision of an object, of a row, or of a list."""
    return int((item["rows"][0]["object"] if item.get("rows") else item)["metadata"]["resourceVersion"])


def name_of(item: Any) -> str:
    return str((item["rows"][0]["object"] if item.get("rows") else item)["metadata"]["name"])


async def test_a_watch_begins_with_what_there_is_and_goes_on_with_each_change() -> None:
    async with running() as server:
        await server.made("web1")
        async with server.watch("") as events:
            assert await events.names(1) == [("ADDED", "web1")]
            await server.labelled("web1", a="b")
            await server.ask("DELETE", "/api/v1/nodes/web1")
            (modified, before), (deleted, after) = await events.next(), await events.next()
            assert (modified, deleted) == ("MODIFIED", "DELETED")
            assert revision_of(after) > revision_of(before)


async def test_a_watch_from_a_revision_has_all_behind_it_and_nothing_else() -> None:
    async with running() as server:
        made = [await server.made(f"web{number}") for number in range(3)]
        async with server.watch(f"resourceVersion={revision_of(made[0])}") as events:
            assert await events.names(2) == [("ADDED", "web1"), ("ADDED", "web2")]
            await server.made("web3")
            assert await events.names(1) == [("ADDED", "web3")]


async def test_an_object_comes_into_a_selection_and_leaves_it() -> None:
    async with running() as server:
        await server.made("web1", role="db")
        async with server.watch("labelSelector=role%3Dweb") as events:
            await server.labelled("web1", role="web")
            await server.labelled("web1", more="yes")
            left = await server.labelled("web1", role="db")
            assert await events.names(2) == [("ADDED", "web1"), ("MODIFIED", "web1")]
            type_, item = await events.next()
            assert (type_, revision_of(item)) == ("DELETED", revision_of(left))
            assert item["metadata"]["labels"]["role"] == "web"


async def test_a_list_as_a_watch_ends_with_a_bookmark_even_of_nothing() -> None:
    async with running() as server:
        for count in range(3):
            async with server.watch(INITIAL) as events:
                found = [await events.next() for _ in range(count + 1)]
            assert [type_ for type_, _ in found] == ["ADDED"] * count + ["BOOKMARK"]
            end = found[-1][1]
            assert end["kind"] == "Node"
            assert end["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            _, listed = await server.ask("GET", "/api/v1/nodes")
            assert revision_of(end) == revision_of(listed)
            await server.made(f"web{count}")


async def test_only_the_first_rows_of_a_watch_name_the_columns() -> None:
    async with running() as server:
        await server.made("web1")
        async with server.watch("", accept=TABLE) as events:
            _, first = await events.next()
            await server.made("web2")
            _, second = await events.next()
        assert [each["name"] for each in first["columnDefinitions"]][:2] == ["Name", "Status"]
        assert not second["columnDefinitions"]
        assert second["rows"][0]["cells"][0] == "web2"


async def test_a_watch_ends_with_its_time_and_a_bookmark_if_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as server:
        await server.made("web1")
        async with server.watch("timeoutSeconds=1") as events:
            assert [type_ for type_, _ in await events.rest()] == ["ADDED"]
        monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.35)  # twice in a second, however late each of them is
        async with server.watch("timeoutSeconds=1&allowWatchBookmarks=true") as events:
            types = [type_ for type_, _ in await events.rest()]
        assert types == ["ADDED"] + ["BOOKMARK"] * 3


async def test_a_revision_that_is_no_longer_known_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_REVISIONS", 5)
    async with running() as server:
        first = await server.made("web1")
        for number in range(8):
            await server.labelled("web1", number=str(number))
        path = f"/api/v1/nodes?watch=1&resourceVersion={revision_of(first)}"
        code, status = await server.ask("GET", path)
        assert (code, status["reason"], status["code"]) == (410, "Expired", 410)
        code, status = await server.ask(
            "GET", f"/api/v1/nodes?limit=1&resourceVersion={revision_of(first)}&resourceVersionMatch=Exact"
        )
        assert (code, status["reason"]) == (410, "Expired")


async def test_a_watcher_that_is_too_slow_is_cut_and_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its events up to the cut without a gap, and no error: the next watch begins behind the last of them."""
    monkeypatch.setattr(limits, "WATCH_BUFFER", 20)
    async with running() as server:
        big = "x" * 60_000
        await server.ask("POST", "/api/v1/nodes", {"metadata": {"name": "web1", "annotations": {"big": big}}})
        async with server.watch("resourceVersion=0") as slow:
            for number in range(150):
                await server.labelled("web1", number=str(number))
            seen = [item for type_, item in await slow.rest() if type_ != "ERROR" or pytest.fail("an error")]
        assert len(seen) < 151
        async with server.watch(f"resourceVersion={revision_of(seen[-1])}") as again:
            seen += [(await again.next())[1] for _ in range(151 - len(seen))]
        numbers = [int(item["metadata"]["labels"]["number"]) for item in seen[1:]]
        assert numbers == list(range(150))


async def test_a_watcher_that_is_gone_is_let_go_at_once() -> None:
    async with running() as server:
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /api/v1/nodes?watch=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readline()
            assert len(server.serving.standing.of["nodes"].window.watches) == 1
            writer.transport.abort()
            async with asyncio.timeout(2):
                while server.serving.standing.of["nodes"].window.watches:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.002)


async def test_what_happens_between_a_list_of_the_store_and_the_watch_is_told() -> None:
    """The list came from the store itself, since the window was behind; when the watch began it had overtaken the list."""
    async with running() as server:
        await server.made("web1")
        nodes = server.serving.standing.of["nodes"]
        wanted = watching.Wanted(
            namespace="", selection=Selection(), options=ReadOptions(watch=True), shape=Plain(NODE), seconds=0.1
        )
        begun = watching.Begun(nodes.window.revision, await nodes.list())
        await server.made("web2")
        async with asyncio.timeout(5):
            await nodes.window.reached(await nodes.head())
        text = b"".join([some async for some in watching.lines(nodes.window, wanted, begun, Outlet())])
    assert [json.loads(line)["object"]["metadata"]["name"] for line in text.splitlines()] == ["web1", "web2"]


FORMS: Final = {
    "plain": ("", {}),
    "selected": ("labelSelector=role%3Dweb", {}),
    "table": ("", {"accept": TABLE}),
    "metadata": ("", {"accept": METADATA}),
    "list": (INITIAL, {}),
    "bookmarks": ("allowWatchBookmarks=true", {}),
}


NODES: Final = 32


async def lived(server: Running, name: str) -> list[int]:
    """Returns the revisions of a Node that is made, changed twice and deleted; all but the last."""
    made = [await server.made(name, role="web"), await server.labelled(name, a="1"), await server.labelled(name, a="2")]
    _, gone = await server.ask("DELETE", f"/api/v1/nodes/{name}")
    assert gone["status"] == "Success"
    return [revision_of(each) for each in made]


async def seen_by(server: Running, query: str, headers: dict[str, str], has_begun: asyncio.Barrier) -> list[tuple[str, Any]]:
    """Returns what a watcher has seen once all Nodes are gone."""
    found: list[tuple[str, Any]] = []
    async with server.watch(query, **headers) as events:
        await has_begun.wait()
        while sum(type_ == "DELETED" for type_, _ in found) < NODES:
            found.append(await events.next())
    return [(type_, item) for type_, item in found if type_ != "BOOKMARK"]


async def test_watchers_of_every_form_see_every_write_once_and_in_order() -> None:
    """What four writers at once were answered is what each watcher has seen of their Nodes."""
    written: dict[str, list[int]] = {}

    async def write(server: Running, number: int) -> None:
        for index in range(NODES // 4):
            name = f"web{number}-{index}"
            written[name] = await lived(server, name)

    async with running() as server, asyncio.TaskGroup() as tasks:
        has_begun = asyncio.Barrier(len(FORMS) + 1)
        watchers = {
            form: tasks.create_task(seen_by(server, query, headers, has_begun)) for form, (query, headers) in FORMS.items()
        }
        await has_begun.wait()
        for number in range(4):
            tasks.create_task(write(server, number))
        seen = {form: await watcher for form, watcher in watchers.items()}
    for form, events in seen.items():
        revisions = [revision_of(item) for _, item in events]
        assert revisions == sorted(set(revisions)), form
        for name, theirs in written.items():
            own = [(type_, revision_of(item)) for type_, item in events if name_of(item) == name]
            assert [type_ for type_, _ in own] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], form
            assert [revision for _, revision in own[:3]] == theirs, form


async def test_a_client_goes_from_one_server_of_a_store_to_another(tmp_path: Path) -> None:
    """What is written through the one is listed by the other at once, and a watch goes on there by the first one's revision."""
    storage = SqliteStorage(tmp_path / "k3.db")
    first_store, second_store = await connect(storage), await connect(storage)
    async with running(first_store) as first, running(second_store) as second:
        for number in range(20):
            made = await first.made(f"web{number}")
            _, listed = await second.ask("GET", "/api/v1/nodes")
            assert len(listed["items"]) == number + 1
            assert revision_of(listed) >= revision_of(made)
            code, _ = await second.ask("GET", f"/api/v1/nodes/web{number}?resourceVersion={revision_of(made)}")
            assert code == 200
            async with second.watch(f"resourceVersion={revision_of(made) - 1}") as events:
                assert await events.names(1) == [("ADDED", f"web{number}")]
    await first_store.aclose()
    await second_store.aclose()
