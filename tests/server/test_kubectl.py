"""kubectl, whichever is installed: what people do with it every day. K3_TEST_KUBECTL names another one.

Debian's is of 1.20, and reads another OpenAPI than those from 1.27 on.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.needs import find
from tests.server.running import Running, running

pytestmark = pytest.mark.servers("kubectl")

NODE: Final = """
apiVersion: v1
kind: Node
metadata:
  name: web1
  labels: {role: web}
spec: {podCIDR: 10.1.0.0/24}
status:
  addresses: [{type: InternalIP, address: 10.0.0.1}]
  conditions: [{type: Ready, status: "True", reason: Here, message: it answers}]
"""


class Kubectl:
    """kubectl against one server."""

    def __init__(self, server: Running, folder: Path) -> None:
        self.server = server
        self.folder = folder
        (folder / "node.yaml").write_text(NODE, encoding="utf-8")

    async def run(self, *words: str, code: int = 0, **env: str) -> str:
        """Returns what kubectl prints, errors and all. Its exit code must be this one."""

        def inside() -> subprocess.CompletedProcess[str]:
            argv = [
                find("kubectl") or "kubectl",
                "--server",
                self.server.url,
                "--cache-dir",
                str(self.folder / "cache"),
                *words,
            ]
            told = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **env}
            return subprocess.run(argv, cwd=self.folder, env=told, text=True, capture_output=True, timeout=60, check=False)

        done = await asyncio.to_thread(inside)
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    async def field(self, path: str) -> str:
        """Returns a field of the Node web1."""
        return await self.run("get", "node", "web1", "-o", f"jsonpath={{{path}}}")


@pytest.fixture(name="kubectl")
async def _kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with running() as server:
        yield Kubectl(server, tmp_path)


async def test_a_node_is_created_shown_and_deleted(kubectl: Kubectl) -> None:
    assert "web1 created" in await kubectl.run("create", "-f", "node.yaml")
    assert "AlreadyExists" in await kubectl.run("create", "-f", "node.yaml", code=1)
    lines = (await kubectl.run("get", "nodes", "-o", "wide", "-L", "role")).splitlines()
    assert lines[0].split()[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert (lines[1].split()[:2], "10.0.0.1" in lines[1], lines[1].split()[-1]) == (["web1", "Ready"], True, "web")
    assert await kubectl.run("get", "nodes", "-o", "name", "--field-selector", "metadata.name!=web2") == "node/web1\n"
    assert "No resources found" in await kubectl.run("get", "nodes", "-l", "role notin (web)")
    assert "InternalIP:" in await kubectl.run("describe", "node", "web1")
    assert "deleted" in await kubectl.run("delete", "node", "web1")
    assert 'nodes "web1" not found' in await kubectl.run("get", "node", "web1", code=1)


async def test_labels_annotations_and_taints_come_and_go(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", "node.yaml")
    await kubectl.run("label", "node", "web1", "a=b", "role=db", "--overwrite")
    await kubectl.run("annotate", "nodes", "--all", "note=x")
    assert (await kubectl.field(".metadata.labels.role"), await kubectl.field(".metadata.annotations.note")) == ("db", "x")
    await kubectl.run("label", "node", "web1", "a-")
    await kubectl.run("taint", "node", "web1", "k=v:NoSchedule", "l=v:NoExecute")
    await kubectl.run("taint", "node", "web1", "k-")
    assert (await kubectl.field(".spec.taints[*].key"), await kubectl.field(".metadata.labels.a")) == ("l", "")


async def test_a_node_is_cordoned_and_drained(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", "node.yaml")
    assert "drained" in await kubectl.run("drain", "web1", "--dry-run=server")
    assert await kubectl.field(".spec.unschedulable") == ""
    assert "drained" in await kubectl.run("drain", "web1", "--ignore-daemonsets")
    assert "SchedulingDisabled" in await kubectl.run("get", "nodes")
    await kubectl.run("uncordon", "web1")
    assert "SchedulingDisabled" not in await kubectl.run("get", "nodes")


async def test_a_node_is_applied_edited_replaced_and_patched(kubectl: Kubectl) -> None:
    assert "created" in await kubectl.run("apply", "-f", "node.yaml")
    assert "unchanged" in await kubectl.run("apply", "-f", "node.yaml")
    (kubectl.folder / "node.yaml").write_text(NODE.replace("role: web", "tier: front"), encoding="utf-8")
    assert "configured" in await kubectl.run("apply", "-f", "node.yaml")
    assert await kubectl.field(".metadata.labels") == '{"tier":"front"}'
    await kubectl.run("edit", "node", "web1", EDITOR="sed -i s/tier:.front/tier:\\ back/")
    assert await kubectl.field(".metadata.labels.tier") == "back"
    await kubectl.run("replace", "-f", "node.yaml")
    for kind, patch in (
        ("strategic", '{"metadata":{"labels":{"s":"1"}}}'),
        ("merge", '{"metadata":{"labels":{"m":"1"}}}'),
        ("json", '[{"op":"add","path":"/metadata/labels/j","value":"1"}]'),
    ):
        await kubectl.run("patch", "node", "web1", "--type", kind, "-p", patch)
    assert await kubectl.field(".metadata.labels") == '{"j":"1","m":"1","s":"1","tier":"front"}'
    assert await kubectl.field(".status.conditions[0].type") == "Ready"


async def test_a_node_is_applied_on_the_servers_side(kubectl: Kubectl) -> None:
    await kubectl.run("apply", "--server-side", "-f", "node.yaml")
    other = NODE.replace("role: web", "role: db")
    (kubectl.folder / "other.yaml").write_text(other, encoding="utf-8")
    words = ("apply", "--server-side", "-f", "other.yaml", "--field-manager", "other")
    assert "conflict with" in await kubectl.run(*words, code=1)
    await kubectl.run(*words, "--force-conflicts")
    assert await kubectl.field(".metadata.labels.role") == "db"


async def test_a_field_that_a_node_does_not_have_is_refused(kubectl: Kubectl) -> None:
    """By kubectl itself before 1.25, from what OpenAPI says; by the server since."""
    (kubectl.folder / "odd.yaml").write_text(NODE.replace("podCIDR", "podCIDDR"), encoding="utf-8")
    assert "podCIDDR" in await kubectl.run("create", "-f", "odd.yaml", code=1)


@pytest.mark.slow
async def test_a_finalizer_is_waited_for(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", "node.yaml")
    await kubectl.run("patch", "node", "web1", "--type=merge", "-p", '{"metadata":{"finalizers":["k3/test"]}}')
    assert "timed out" in await kubectl.run("delete", "node", "web1", "--timeout=1s", code=1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kubectl.run("wait", "node/web1", "--for=delete", "--timeout=20s"))
        await asyncio.sleep(1.0)  # kubectl 1.20 takes it for an error where the Node is gone before it looks
        await kubectl.run("patch", "node", "web1", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


async def test_a_condition_is_waited_for(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", "node.yaml")
    assert "condition met" in await kubectl.run("wait", "node/web1", "--for=condition=Ready", "--timeout=5s")
    assert "timed out" in await kubectl.run("wait", "node/web1", "--for=condition=Ready=False", "--timeout=1s", code=1)


async def test_it_is_told_what_there_is_and_what_one_may_do(kubectl: Kubectl) -> None:
    assert "holderIdentity" in await kubectl.run("explain", "lease.spec")
    resources = await kubectl.run("api-resources", "-o", "name")
    assert {"nodes", "events", "leases.coordination.k8s.io"} <= set(resources.split())
    assert "coordination.k8s.io/v1" in (await kubectl.run("api-versions")).split()
    assert "yes" in await kubectl.run("auth", "can-i", "delete", "nodes")
    assert "running at" in await kubectl.run("cluster-info")
    assert await kubectl.run("get", "--raw", "/readyz") == "ok"
    assert json.loads(await kubectl.run("get", "--raw", "/version"))["major"] == "1"
    assert "default" in await kubectl.run("get", "namespaces")
    assert "No resources found" in await kubectl.run("get", "all", "--all-namespaces")


@pytest.mark.slow
async def test_a_watch_shows_what_changes(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", "node.yaml")
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(kubectl.run("get", "nodes", "-w", "-o", "name", "--request-timeout=3s"))
        nodes = kubectl.server.serving.standing.of["nodes"].window
        while not nodes.watches:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        await kubectl.run("label", "node", "web1", "a=b")
    assert watching.result().count("node/web1") == 2
