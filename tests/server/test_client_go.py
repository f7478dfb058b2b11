"""What client-go 0.37 sends, byte for byte, and the codes it was answered with: client_go.json.

It was recorded of a program that does what a kubelet does, with typed clients, which write protobuf: an informer (a list as a
watch), a Node that is registered, its heartbeats and its Lease, an update that is too late, Events of a recorder that become
one, an election of a leader that is won, held and given back, and deletions with preconditions. Uids and revisions in it are
those of that run; they are as long as any, so those of this one take their places.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

from tests.server.running import LEASES, Running, running

SENT: Final[list[dict[str, Any]]] = json.loads(Path(__file__).with_name("client_go.json").read_text(encoding="utf-8"))
SUBJECT: Final = "/api/v1/nodes/kubelet1"


class Replay:
    """Sends what was recorded."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._now: dict[bytes, bytes] = {}
        self.at = 0

    async def until(self, count: int) -> Any:
        """Sends the requests up to one of them; returns the answer to the last."""
        found: Any = None
        for sent in SENT[self.at : count]:
            if not sent.get("watch"):
                found = await self._send(sent)
        self.at = count
        return found

    async def _send(self, sent: dict[str, Any]) -> Any:
        body = base64.b64decode(sent["body"]) if "body" in sent else None
        for was, now in self._now.items():
            body = body.replace(was, now) if body else body
        headers = {name: sent[name] for name in ("accept", "content_type") if sent.get(name)}
        code, found = await self._server.ask(sent["method"], sent["path"], body, **headers, user_agent="probe/1.0")
        assert code == sent["code"], (sent["method"], sent["path"], found)
        for name in ("uid", "resourceVersion"):
            if name in sent:
                was, now = sent[name].encode(), found["metadata"][name].encode()
                assert len(was) == len(now)
                self._now[was] = now
        return found


async def test_what_client_go_sends_is_answered_as_it_was() -> None:
    async with running() as server:
        await Replay(server).until(len(SENT))
        for path in ("/api/v1/nodes", LEASES, "/api/v1/namespaces/default/events"):
            assert (await server.ask("GET", path))[1]["items"] == []


async def test_a_node_is_registered_and_beats() -> None:
    async with running() as server:
        replay = Replay(server)
        node = await replay.until(2)
        assert node["status"]["nodeInfo"]["kernelVersion"] == "6.1"
        assert node["status"]["capacity"] == {"cpu": "4", "memory": "8123456Ki", "pods": "110"}
        assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
        assert node["spec"]["taints"] == [{"effect": "NoSchedule", "key": "node.kubernetes.io/not-ready"}]
        assert "generation" not in node["metadata"]
        await replay.until(9)
        _, node = await server.ask("GET", SUBJECT)
        assert [each["address"] for each in node["status"]["addresses"]] == ["10.0.0.4", "kubelet1"]
        assert [each["type"] for each in node["status"]["conditions"]] == ["Ready"]
        await replay.until(13)
        _, node = await server.ask("GET", SUBJECT)
        assert (node["metadata"]["labels"]["x"], node["spec"], node["status"]["phase"]) == ("y", {}, "Running")
        lease = await replay.until(18)
        assert lease["spec"]["renewTime"].endswith("Z")
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


async def test_events_of_one_kind_become_one_with_a_count() -> None:
    async with running() as server:
        found = await Replay(server).until(21)
    assert [(each["count"], each["reason"]) for each in found["items"]] == [(2, "Starting")]


async def test_a_leader_gives_its_lease_back() -> None:
    async with running() as server:
        replay = Replay(server)
        held = await replay.until(27)
        assert held["spec"]["holderIdentity"] == "me"
        given = await replay.until(30)
        assert given["spec"]["holderIdentity"] == ""


async def test_an_informer_begins_with_a_list_as_a_watch() -> None:
    async with running() as server:
        await server.made("web1")
        path, _, query = SENT[0]["path"].partition("?")
        assert "sendInitialEvents=true" in query
        async with server.watch(query.removesuffix("&watch=true"), path, accept=SENT[0]["accept"]) as events:
            assert await events.names(1) == [("ADDED", "web1")]
            type_, item = await events.next()
            assert (type_, item["kind"], item["metadata"]["annotations"]) == (
                "BOOKMARK",
                "Node",
                {"k8s.io/initial-events-end": "true"},
            )
