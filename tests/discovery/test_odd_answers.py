"""Odd answers of Consul to a running mirror: a bad entry costs itself, a bad answer is none, and nobody else notices."""

import asyncio
import copy
import json
import logging
import tracemalloc
from typing import Any

import pytest

from k3.core import limits
from k3.core.errors import Unavailable
from k3.core.store import Store
from k3.discovery import catalog, sender, watch
from k3.discovery.mirror import MirrorSettings
from k3.discovery.settings import from_flags
from tests.discovery.answering import reply
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import eventually
from tests.discovery.mirroring import ILL, UP, mirroring, now
from tests.discovery.odd_consul import HEALTH, MEMBERS, check, entry, odd_consul

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The entry of the machine `odd`, with another value at a place."""
    found = copy.deepcopy(entry("odd"))
    at: Any = found
    *parents, last = path.split(".")
    for each in parents:
        at = at[each]
    at[last] = value
    return found


TWO = 2
DEEP: Any = []
for _ in range(150):
    DEEP = [DEEP]

ODD_ENTRIES: dict[str, Any] = {
    "null": None,
    "number": 7,
    "text": "web",
    "list": [entry("odd")],
    "empty": {},
    "no Node": changed("Node", None),
    "Node a list": changed("Node", ["host-odd"]),
    "Node.Node an object": changed("Node.Node", {"a": 1}),
    "Service a text": changed("Service", "k3-node"),
    "ID a list": changed("Service.ID", ["k3-node-odd"]),
    "ID a number": changed("Service.ID", 7),
    "Meta a list": changed("Service.Meta", ["node"]),
    "Meta a text": changed("Service.Meta", "node"),
    "Meta of numbers": changed("Service.Meta", {"node": 7}),
    "Meta deep": changed("Service.Meta", {"node": DEEP}),
    "Address a list": changed("Service.Address", ["10.0.0.1"]),
    "Address too large": changed("Node.Address", 10**30),
    "Port too large": changed("Service.Port", 70_000),
    "Port a text": changed("Service.Port", "7946"),
    "Port not finite": changed("Service.Port", float("inf")),
    "Port not a number": changed("Service.Port", float("nan")),
    "TaggedAddresses a list": changed("Service.TaggedAddresses", ["lan"]),
    "Checks an object": changed("Checks", {"Status": "passing"}),
    "Checks a text": changed("Checks", "passing"),
    "long": changed("Service.Meta", {"node": "odd", "x": "x" * 2**20}),
    "name taken": changed("Service.Meta", {"node": "../etc"}),
}
ODD_CHECKS: dict[str, Any] = {
    "number": 7,
    "null": None,
    "CheckID a list": check("odd", "critical", CheckID=["a"]),
    "CheckID an object": check("odd", "critical", CheckID={"a": 1}),
    "CheckID long": check("odd", "critical", CheckID="c" * 5_000),
    "Status a number": check("odd", "passing", Status=2),
    "Status a list": check("odd", "passing", Status=["critical"]),
    "Node a list": check("odd", "critical", Node=["host-odd"]),
    "ServiceID an object": check("odd", "critical", ServiceID={}),
    "Output a number": check("odd", "critical", Output=0),
    "Type a list": check("odd", "critical", Type=["http"]),
}


@pytest.fixture(params=["one tier", "two tiers"])
def _tiers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two tiers":
        monkeypatch.setattr(watch, "LARGE", TWO)


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.getMessage() == event]


@pytest.mark.usefixtures("_tiers")
@pytest.mark.parametrize("odd", ODD_ENTRIES)
async def test_a_bad_entry_costs_itself_alone(
    odd: str, connect: Connect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    web1, web2 = entry("web1"), entry("web2")
    async with (
        odd_consul(web1, web2, entry("odd")) as server,
        mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view,
    ):
        await view.all_show(UP, "web1", "web2", "odd")
        server.show(web1, ODD_ENTRIES[odd], web2)
        await server.is_asked(HEALTH, more=1)
        server.show(web1, ODD_ENTRIES[odd], entry("web2", "critical"), entry("web3"))
        await view.all_show(ILL, "web2")
        await view.all_show(UP, "web1", "web3", "odd")
        assert len(told(caplog, "consul.refused")) == 1
        server.show(web1, web2, entry("odd", "critical"), entry("web3"))
        await view.all_show(ILL, "odd")
        await view.all_show(UP, "web1", "web2", "web3")
    assert not told(caplog, "agent.fault")


@pytest.mark.usefixtures("_tiers")
@pytest.mark.parametrize("odd", ODD_CHECKS)
async def test_a_bad_check_costs_itself_alone(
    odd: str, connect: Connect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    web1 = entry("web1")
    async with (
        odd_consul(web1, entry("odd", "passing", ODD_CHECKS[odd])) as server,
        mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view,
    ):
        await view.all_show(UP, "web1", "odd")
        server.show(web1, entry("odd", "critical", ODD_CHECKS[odd]), entry("web2"))
        await view.all_show(ILL, "odd")
        await view.all_show(UP, "web1", "web2")
        server.show(entry("web1", "critical"), entry("odd", "passing", ODD_CHECKS[odd]), entry("web2"))
        await view.all_show(ILL, "web1")
        await view.all_show(UP, "odd", "web2")
        refused = told(caplog, "consul.refused")
        assert [each["which"] for each in refused] == ["k3-node-odd on host-odd: bad check"]


LIST = json.dumps([entry("web1"), entry("web2")]).encode()
JSON = "Content-Type: application/json\r\nX-Consul-Index: 99\r\n"

ODD_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "empty": reply(b"", headers=JSON),
    "HTML": reply(b"<!doctype html><html><body>Please log in</body></html>", headers="Content-Type: text/html\r\n"),
    "null": reply(b"null", headers=JSON),
    "an object": reply(b'{"error": "no"}', headers=JSON),
    "an object of lists": reply(b'{"a": ' + LIST + b"}", headers=JSON),
    "a text": reply(b'"[]"', headers=JSON),
    "a number": reply(b"1e999", headers=JSON),
    "half a list": reply(LIST[:-40], headers=JSON),
    "half a body": f"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n{JSON}\r\n".encode() + LIST,
    "more behind": reply(LIST + b"[]", headers=JSON),
    "two lists": reply(b"[][]", headers=JSON),
    "gzip": reply(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x8b\x8e\x05\x00", headers="Content-Encoding: gzip\r\n"),
    "UTF-16": reply(LIST.decode().encode("utf-16"), headers=JSON),
    "lists": reply(b"[" + b"[]," * 50_000 + b"[]]", headers=JSON),
    "deep": reply(b"[" * 100_000 + b"]" * 100_000, headers=JSON),
    "nulls": reply(b"[null,null]", headers=JSON),
    "a chunk cut off": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n[",
    "redirect": reply(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "error": reply(b"oh", status="500 Internal Server Error"),
    "forbidden": reply(b"ACL not found", status="403 Forbidden"),
    "not found": reply(b"", status="404 Not Found"),
    "long head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50_000 + b"\r\n\r\n[]",
    "length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n\r\n[]",
}


@pytest.mark.usefixtures("_tiers")
@pytest.mark.parametrize("odd", ODD_ANSWERS)
@pytest.mark.slow
async def test_an_answer_that_is_wrong_as_a_whole_is_none(odd: str, connect: Connect, store: Store) -> None:
    async with (
        odd_consul(entry("web1"), entry("web2")) as server,
        mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view,
    ):
        await view.all_show(UP, "web1", "web2")
        writes = view.reconciler.writes
        server.say(HEALTH, ODD_ANSWERS[odd])
        await server.is_asked(HEALTH, more=2)
        await view.all_show(UP, "web1", "web2")
        assert view.reconciler.writes == writes
        server.entries = [entry("web1", "critical"), entry("web2"), entry("web3")]
        server.say(HEALTH, None)
        await view.all_show(ILL, "web1")
        await view.all_show(UP, "web2", "web3")


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "a list without end": (b"HTTP/1.1 200 OK\r\n\r\n[[]", b",[]" * 20_000),
    "space without end": (b"HTTP/1.1 200 OK\r\n\r\n[", b" " * 60_000),
    "a text without end": (b'HTTP/1.1 200 OK\r\n\r\n["', b"x" * 60_000),
    "numbers by single chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n", b"1\r\n1\r\n"),
    "a head without end": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("odd", DRIPS)
@pytest.mark.slow
async def test_an_answer_without_end_is_none(odd: str, connect: Connect, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LIST_SECONDS", 1.0)
    monkeypatch.setattr(limits, "HTTP_ANSWER_BYTES", 2**21)
    async with (
        odd_consul(entry("web1"), entry("web2")) as server,
        mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view,
    ):
        await view.all_show(UP, "web1", "web2")
        said, server.drips = DRIPS[odd]
        server.say(HEALTH, said)
        await server.is_asked(HEALTH, more=2)
        await view.all_show(UP, "web1", "web2")
        server.entries = [entry("web1", "critical"), entry("web2"), entry("web3")]
        server.drips = b""
        server.say(HEALTH, None)
        await view.all_show(ILL, "web1")
        await view.all_show(UP, "web2", "web3")


@pytest.mark.slow
async def test_a_list_that_does_not_end_is_called_that(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time begins with it, however little is left of the time for an answer to begin."""
    monkeypatch.setattr(sender, "LIST_SECONDS", 4.0)
    monkeypatch.setattr(catalog, "CALL_SECONDS", 3.0 - sender.read_timeout_seconds(0))  # an answer has 3 s to begin
    async with odd_consul(entry("web1")) as server:
        said, server.drips = b"HTTP/1.1 200 OK\r\n\r\n[", b" "
        server.say(HEALTH, said)
        with pytest.raises(Unavailable, match=r"began a list and had not ended it 4 s later"):
            await connect(from_flags(server.address, "", {})).catalog.health("k3-node", datacenter="dc1", index=0)


ODD_HEADERS = {
    "none": "X: y\r\n",
    "negative": "X-Consul-Index: -5\r\n",
    "huge": f"X-Consul-Index: {2**70}\r\n",
    "words": "X-Consul-Index: soon\r\nX-Consul-Lastcontact: never\r\n",
    "twice": "X-Consul-Index: 5\r\nX-Consul-Index: 9\r\n",
    "zero": "X-Consul-Index: 0\r\n",
    "the same": "X-Consul-Index: 7\r\n",
}


@pytest.mark.usefixtures("_tiers")
@pytest.mark.parametrize("odd", ODD_HEADERS)
@pytest.mark.slow
async def test_odd_headers_and_queries_that_do_not_block_cost_a_question_a_second(
    odd: str, connect: Connect, store: Store
) -> None:
    async with (
        odd_consul(entry("web1"), entry("web2")) as server,
        mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view,
    ):
        server.headers, server.is_patient = ODD_HEADERS[odd], False
        server.change()
        await view.all_show(UP, "web1", "web2")
        server.entries = [entry("web1", "critical"), entry("web2"), entry("web3")]
        await view.all_show(ILL, "web1")
        await view.all_show(UP, "web2", "web3")
        await server.is_asked(MEMBERS if watch.LARGE == TWO else HEALTH, more=3)
        before, began = len(server.asked), now()
        await server.is_asked(MEMBERS if watch.LARGE == TWO else HEALTH, more=5)
        assert len(server.asked) - before < 8 * (now() - began) + 8


@pytest.mark.slow
async def test_an_index_that_goes_to_and_fro_costs_a_question_a_second(connect: Connect, store: Store) -> None:
    async with (
        odd_consul(entry("web1")) as server,
        mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view,
    ):
        await view.all_show(UP, "web1")
        server.is_patient = False
        for _ in range(12):
            server.index = 90 - server.index
            await server.is_asked(HEALTH, more=1)
        began = now()
        for _ in range(6):
            server.index = 90 - server.index
            await server.is_asked(HEALTH, more=1)
        assert now() - began > 0.5
        await view.all_show(UP, "web1")


FLOODS = {
    "lists": b"[" + b"[]," * 2_000_000 + b"[]]",
    "entries of lists": b"[" + b",".join([b"[" + b"[]," * 200_000 + b"[]]"] * 8) + b"]",
    "objects": b"[" + b"{}," * 2_000_000 + b"{}]",
    "one text": b'["' + b"x" * 6_000_000 + b'"]',
}


@pytest.mark.parametrize("odd", FLOODS)
@pytest.mark.slow
async def test_a_large_odd_answer_takes_no_more_room_than_an_element(
    odd: str, connect: Connect, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "LIST_SECONDS", 240.0)  # to read it with every allocation traced takes many times as long
    async with odd_consul(entry("web1")) as server:
        consul = connect(from_flags(server.address, "", {}))
        server.say(HEALTH, f"HTTP/1.1 200 OK\r\nContent-Length: {len(FLOODS[odd])}\r\n\r\n".encode() + FLOODS[odd])
        tracemalloc.start()
        try:
            found = (await consul.catalog.health("k3-node", datacenter="dc1", index=0)).found
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found.unidentified
    assert not found.instances
    assert peak < 60 * 2**20


async def test_many_datacenters_are_said_once_and_only_so_many_watched(
    connect: Connect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with odd_consul(entry("web1")) as server:
        server.datacenters = [*(f"dc-{number}" for number in range(3_000)), None, 7, {}, "a\nb", "x" * 64, "dc1"]
        server.headers = "X-Consul-Index: 7\r\n"
        async with mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view:
            await view.all_show(UP, "web1")
            await server.is_asked(HEALTH, more=40)
            assert len(view.mirror._directory.places) == limits.DATACENTERS
            assert view.mirror._directory.own in view.mirror._directory.places
    assert [each["datacenters"] for each in told(caplog, "consul.many_datacenters")] == [3_001]
    assert len([each for each in caplog.records if each.name.startswith("k3.discovery")]) < 8


async def test_datacenters_that_are_no_longer_listed_leave_their_places_to_others(
    connect: Connect, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k3.discovery.finding.DATACENTERS_SECONDS", 0.1)
    monkeypatch.setattr("k3.discovery.datacenters.UNWANTED_SECONDS", 0.5)
    caplog.set_level(logging.INFO)
    async with odd_consul(entry("web1")) as server:
        server.only_in = "dc1"
        server.datacenters = ["dc1", *(f"invented-{number}" for number in range(limits.DATACENTERS + 8))]
        async with mirroring(connect(from_flags(server.address, "", {})), store, SETTINGS) as view:
            places = view.mirror._directory.places

            async def watched(count: int) -> None:
                async def is_so() -> bool:
                    running = [each for each in asyncio.all_tasks() if "DatacenterWatch.run" in repr(each)]
                    return len(places) == len(running) == count

                await eventually(is_so)

            await view.all_show(UP, "web1")
            await watched(limits.DATACENTERS)
            server.datacenters = ["real"]
            await watched(TWO)
            assert set(places) == {"dc1", "real"}
            asked = server.times(HEALTH)
            server.datacenters = []
            await asyncio.sleep(0.25)
            server.datacenters = ["real"]
            await asyncio.sleep(0.4)
            assert set(places) == {"dc1", "real"}
            assert server.times(HEALTH) - asked < 20
            await view.all_show(UP, "web1")
