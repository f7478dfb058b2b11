"""The controller of docs/server.md, run as it stands there against a server."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.docs.pages import page
from tests.server.running import Running, running

READY = {"type": "Ready", "status": "True"}
CLUSTER = {"clusters": [{"name": "k3", "cluster": {}}], "users": [{"name": "me", "user": {}}]}


def code() -> str:
    (block,) = [block for block in page("docs/server.md").blocks if block.language == "python"]
    return "\n".join(block.lines)


async def unschedulable(server: Running) -> dict[str, bool]:
    _, found = await server.ask("GET", "/api/v1/nodes")
    return {node["metadata"]["name"]: node["spec"].get("unschedulable", False) for node in found["items"]}


async def test_it_cordons_what_is_not_ready(tmp_path: Path) -> None:
    async with running() as server:
        cluster = {"name": "k3", "cluster": {"server": server.url}}
        context = {"name": "k3", "context": {"cluster": "k3", "user": "me"}}
        config: dict[str, Any] = {**CLUSTER, "clusters": [cluster], "contexts": [context], "current-context": "k3"}
        (tmp_path / "k3.yaml").write_text(yaml.safe_dump(config))
        for name, conditions in (("well", [READY]), ("ill", [{**READY, "status": "False"}])):
            node = {"metadata": {"name": name}, "status": {"conditions": conditions}}
            assert (await server.ask("POST", "/api/v1/nodes", node))[0] == 201
        controller = await asyncio.create_subprocess_exec(sys.executable, "-c", code(), cwd=tmp_path)
        try:
            while await unschedulable(server) != {"well": False, "ill": True}:
                assert controller.returncode is None
                await asyncio.sleep(0.05)
        finally:
            controller.kill()
            await controller.wait()
