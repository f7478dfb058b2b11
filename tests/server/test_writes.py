"""Writes that change nothing, and those that are made of what a server saw last while another one writes."""

import asyncio
import json
from pathlib import Path

from k3.stores import connect
from k3.stores.sqlite.settings import SqliteStorage
from tests.server.running import running

APPLIED = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "web1", "labels": {"a": "1"}}}
SECONDS = 1.1
"""Until the time in an entry of managedFields is another one."""


async def test_what_is_applied_again_is_not_written_again() -> None:
    async with running() as server:
        seen = set()
        for _ in range(2):
            body = json.dumps(APPLIED).encode()
            code, found = await server.ask(
                "PATCH", "/api/v1/nodes/web1?fieldManager=gitops", body, content_type="application/apply-patch+yaml"
            )
            assert code in {200, 201}
            seen.add(found["metadata"]["resourceVersion"])
            await asyncio.sleep(SECONDS)
        assert len(seen) == 1


async def test_what_another_server_wrote_meanwhile_is_not_undone(tmp_path: Path) -> None:
    """Each write is made of what a watch showed last, and holds only if that is still so."""
    storage = SqliteStorage(tmp_path / "k3.db")
    one_store, other_store = await connect(storage), await connect(storage)
    async with running(one_store) as one, running(other_store) as other:
        await one.made("web1")
        for number in range(20):
            await asyncio.gather(
                one.labelled("web1", **{f"one-{number}": "x"}), other.labelled("web1", **{f"other-{number}": "x"})
            )
        _, found = await one.ask("GET", "/api/v1/nodes/web1")
        stale = {**found, "metadata": {**found["metadata"], "labels": {}}}
        await other.labelled("web1", last="x")
        assert (await one.ask("PUT", "/api/v1/nodes/web1", stale))[0] == 409
        _, found = await one.ask("GET", "/api/v1/nodes/web1")
    wanted = {f"{which}-{number}" for which in ("one", "other") for number in range(20)} | {"last"}
    assert set(found["metadata"]["labels"]) == wanted
    await one_store.aclose()
    await other_store.aclose()
