"""Events are found by what they are about without looking through all of them."""

from typing import Any

import pytest

from k3.core.objects import EVENT, Key
from k3.server.entries import Entry
from k3.stores.memory import MemoryStore
from tests.server.running import Running, running

_PATH = "/api/v1/namespaces/default/events"


def _event(name: str, about: str, *, uid: str = "", kind: str = "Node", namespace: str = "default") -> dict[str, Any]:
    involved = {"apiVersion": "v1", "kind": kind, "name": about, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": "NodeReady",
        "type": "Normal",
    }


async def _names(server: Running, fields: str, path: str = _PATH, **query: str) -> list[str]:
    more = "".join(f"&{key}={value}" for key, value in query.items())
    code, found = await server.ask("GET", f"{path}?fieldSelector={fields}{more}")
    assert code == 200, found
    return [each["metadata"]["name"] for each in found["items"]]


async def test_what_is_about_one_object_is_found_whatever_has_changed() -> None:
    async with running() as server:
        for event in (
            _event("a.1", "a", uid="u1"),
            _event("a.2", "a", uid="u2"),
            _event("b.1", "b"),
            _event("p", "a", kind="Pod"),
        ):
            await server.ask("POST", _PATH, event)
        assert await _names(server, "involvedObject.name=a") == ["a.1", "a.2", "p"]
        assert await _names(server, "involvedObject.kind=Node,involvedObject.name=a") == ["a.1", "a.2"]
        assert await _names(server, "involvedObject.name=a,involvedObject.uid!=u1") == ["a.2", "p"]
        assert await _names(server, "involvedObject.uid=u2") == ["a.2"]
        assert await _names(server, "involvedObject.name=a,involvedObject.name=b") == []
        assert await _names(server, "involvedObject.name=", limit="1") == []
        assert await _names(server, "involvedObject.uid=") == ["b.1", "p"]
        await server.ask("POST", _PATH, _event("a.0", "a"))
        await server.ask("DELETE", f"{_PATH}/a.1")
        await server.ask("DELETE", f"{_PATH}/b.1")
        await server.ask("POST", _PATH, _event("b.1", "a"))
        assert await _names(server, "involvedObject.name=a") == ["a.0", "a.2", "b.1", "p"]
        assert await _names(server, "involvedObject.name=b") == []
        code, page = await server.ask("GET", f"{_PATH}?fieldSelector=involvedObject.name=a&limit=3")
        assert [each["metadata"]["name"] for each in page["items"]] == ["a.0", "a.2", "b.1"]
        assert code == 200
        assert await _names(server, "involvedObject.name=a", limit="3", **{"continue": page["metadata"]["continue"]}) == ["p"]


async def test_not_all_events_are_read_for_those_of_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for number in range(400):
        await store.create(Key(EVENT, f"web{number}.1", "default"), _event(f"web{number}.1", f"web{number}"))
    async with running(store) as server:
        assert await _names(server, "involvedObject.name=web7") == ["web7.1"]
        read: list[str] = []
        whole = Entry.manifest

        def counting(self: Entry) -> Any:
            read.append(self.key.name)
            return whole(self)

        monkeypatch.setattr(Entry, "manifest", counting)
        assert await _names(server, "involvedObject.name=web9", "/api/v1/events") == ["web9.1"]
        assert await _names(server, "involvedObject.name=nosuch") == []
        await store.create(Key(EVENT, "web9.2", "default"), _event("web9.2", "web9"))
        assert await _names(server, "involvedObject.name=web9") == ["web9.1", "web9.2"]
        assert len(read) < 20, "only what was found, and what is new"
    await store.aclose()
