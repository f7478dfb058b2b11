"""The client against a server that says what it is told to: limits, errors, kept connections, the token."""

from pathlib import Path

import pytest

from k3.core import limits
from k3.core.errors import Forbidden, Invalid, K3Error, NotFound, Unavailable
from k3.discovery.catalog import next_index
from k3.discovery.consul import Consul
from k3.discovery.sender import read_timeout_seconds
from k3.discovery.settings import from_flags
from k3.discovery.troubles import refusal
from k3.testing.leaks import LeakCheck
from tests.discovery.answering import reply, speaking
from tests.discovery.conftest import Connect

TOKEN = "5d0c2f1e-secret"
GOOD = reply(b"[]", headers="X-Consul-Index: 7\r\n")


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (403, "ACL not found", Forbidden, "refuses the token (ACL not found)"),
        (401, "ACL support disabled", Forbidden, "ACL support disabled"),
        (500, "rpc error making call: Permission denied", Forbidden, "refuses the token"),
        (500, "No path to datacenter", Unavailable, "No path to datacenter"),
        (500, "No cluster leader", Unavailable, "cannot answer now: No cluster leader"),
        (429, "Your IP is issuing too many concurrent connections", Unavailable, "too many"),
        (503, "", Unavailable, "HTTP 503"),
        (404, "unknown service ID", NotFound, "unknown service ID"),
        (400, "Client sent an HTTP request to an HTTPS server.", Invalid, "speaks TLS; write https://"),
        (400, 'Request decode failed: json: unknown field "x"', Invalid, "does not take the request"),
        (413, "Transaction contains too many operations", Invalid, "too many operations"),
        (301, "", Invalid, "redirects elsewhere"),
        (500, "\x1b[2Jrubbish\n" * 1000, Unavailable, "\\x1b[2Jrubbish\\n"),
    ],
)
def test_every_refusal_is_one_clear_line(status: int, body: str, kind: type[K3Error], told: str) -> None:
    error = refusal(status, body.encode(), "http://c:1")
    assert type(error) is kind
    assert told in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400


@pytest.mark.parametrize(("former", "answered", "then"), [(0, 12, 12), (12, 12, 12), (12, 13, 13), (14, 12, 0), (0, 0, 1)])
def test_an_index_that_goes_back_starts_over(former: int, answered: int, then: int) -> None:
    assert next_index(former, answered) == then


def test_the_client_waits_longer_than_consul_does() -> None:
    assert read_timeout_seconds(55) > 55 * 17 / 16 + 7.2


async def test_the_token_goes_into_its_header_and_nowhere_else(connect: Connect) -> None:
    async with speaking([reply(b"ACL not found", status="403 Forbidden")]) as speaker:
        consul = connect(from_flags(speaker.address, TOKEN, {"CONSUL_NAMESPACE": "team a"}))
        with pytest.raises(Forbidden) as refused:
            await consul.agent.own_service("k3-node/web 1")
        assert TOKEN not in str(refused.value)
        assert f"X-Consul-Token: {TOKEN}\r\n".encode() in speaker.asked[0]
        line = speaker.asked[0].partition(b"\r\n")[0]
        assert line == b"GET /v1/agent/service/k3-node%2Fweb%201?ns=team+a HTTP/1.1"


async def test_a_token_file_that_was_replaced_is_read_again(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n", encoding="ascii")
    async with speaking([reply(b"ACL not found", status="403 Forbidden"), reply(b'["dc1"]')]) as speaker:
        consul = connect(from_flags(speaker.address, "", {"CONSUL_HTTP_TOKEN_FILE": str(file)}))
        file.write_text("new\n", encoding="ascii")
        assert await consul.catalog.datacenters() == ("dc1",)
        assert [b"X-Consul-Token: new" in asked for asked in speaker.asked] == [False, True]


async def test_what_consul_says_of_its_answer_is_kept(connect: Connect) -> None:
    headers = "X-Consul-Index: 9\r\nX-Consul-Knownleader: false\r\nX-Consul-Lastcontact: 12239\r\n"
    filtered = "X-Consul-Index: rubbish\r\nX-Consul-Results-Filtered-By-ACLs: true\r\n"
    async with speaking([reply(b"[1]", headers=headers), reply(b"[]", headers=filtered)]) as speaker:
        consul = connect(from_flags(speaker.address, "", {}))
        first = await consul.catalog.health("k3-node", datacenter="dc 2", index=0)
        second = await consul.catalog.health("k3-node", datacenter="", index=8)
    assert (first.found.instances, first.index, first.has_leader, first.is_filtered) == ((), 9, False, False)
    assert first.last_contact_seconds == pytest.approx(12.239)
    assert (second.index, second.has_leader, second.last_contact_seconds, second.is_filtered) == (1, True, 0.0, True)
    lines = [asked.partition(b" HTTP")[0] for asked in speaker.asked]
    blocking = b"GET /v1/health/service/k3-node?stale&near=_agent&index=8&wait=55s"
    assert lines == [b"GET /v1/health/service/k3-node?stale&dc=dc+2", blocking]


STREAM = "X-Consul-Index: 14\r\nX-Consul-Knownleader: false\r\nX-Consul-Lastcontact: 0\r\nX-Consul-Query-Backend: streaming\r\n"
SERVER = "X-Consul-Effective-Consistency: stale\r\nX-Consul-Index: 14\r\nX-Consul-Query-Backend: blocking-query\r\n"


@pytest.mark.parametrize(
    ("server_says", "has_leader", "last_contact_seconds"),
    [
        ("X-Consul-Knownleader: true\r\nX-Consul-Lastcontact: 31\r\n", True, 0.031),
        ("X-Consul-Knownleader: true\r\nX-Consul-Lastcontact: 12239\r\n", True, 12.239),
        ("X-Consul-Knownleader: false\r\nX-Consul-Lastcontact: 20001\r\n", False, 20.001),
    ],
    ids=["a leader", "a leader long ago", "no leader"],
)
async def test_a_stream_says_nothing_of_a_leader_and_a_server_is_asked(
    connect: Connect, server_says: str, has_leader: bool, last_contact_seconds: float
) -> None:
    """As Consul 1.10 and newer answer (consul#9776): the header is false whatever is so."""
    async with speaking([reply(b"[1]", headers=STREAM), reply(b"[]", headers=SERVER + server_says)]) as speaker:
        reading = await connect(from_flags(speaker.address, "", {})).catalog.health("k3-node", datacenter="dc1", index=8)
    assert (reading.found.unidentified, reading.index) == (1, 14)
    assert reading.has_leader is has_leader
    assert reading.last_contact_seconds == pytest.approx(last_contact_seconds)
    second = speaker.asked[1].partition(b" HTTP")[0]
    assert second.startswith(b"GET /v1/catalog/service/k3-node?stale&filter=")
    assert b"index" not in second, "it is answered at once"


async def test_a_server_that_answers_a_blocking_query_is_believed_of_its_leader(connect: Connect) -> None:
    without = "X-Consul-Knownleader: false\r\nX-Consul-Lastcontact: 7000\r\n"
    async with speaking([reply(b"[]", headers=SERVER + without)]) as speaker:
        reading = await connect(from_flags(speaker.address, "", {})).catalog.health("k3-node", datacenter="dc1", index=8)
    assert (reading.has_leader, reading.last_contact_seconds, len(speaker.asked)) == (False, 7.0, 1)


async def test_a_kept_connection_is_used_again_and_one_found_dead_replaced(connect: Connect) -> None:
    async with speaking([GOOD, GOOD, b"", GOOD]) as speaker:
        consul = connect(from_flags(speaker.address, "", {}))
        for _ in range(3):
            assert await consul.catalog.datacenters() == ()
        assert len(speaker.asked) == 4


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (b"", Unavailable, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[", Unavailable, "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Invalid, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, Invalid, "does not speak HTTP"),
        (reply(b"<html>"), Invalid, "not JSON"),
        (reply(b"[" * 100_000), Invalid, "not JSON"),
        (reply(b"\xff\xfe"), Invalid, "not JSON"),
    ],
    ids=["nothing", "half", "ssh", "long head", "html", "deep", "bytes"],
)
async def test_an_answer_that_is_none(connect: Connect, answer: bytes, kind: type[K3Error], told: str) -> None:
    async with speaking([answer], once=True) as speaker:
        consul = connect(from_flags(speaker.address, "", {}))
        with pytest.raises(kind, match=told):
            await consul.catalog.datacenters()


async def test_an_answer_beyond_the_bound_is_refused(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking([reply(b" " * (2**20 + 1))]) as speaker:
        consul = connect(from_flags(speaker.address, "", {}))
        monkeypatch.setattr(limits, "HTTP_ANSWER_BYTES", 2**20)
        with pytest.raises(Invalid, match="gave an answer of more than 1,048,576 bytes"):
            await consul.catalog.datacenters()


async def test_silence_and_absence_are_unavailable_and_leave_nothing_open(tmp_path: Path) -> None:
    async with speaking([GOOD], hang=True) as speaker:
        leaks = LeakCheck()
        client = Consul(from_flags(speaker.address, "", {}))
        with pytest.raises(Unavailable, match="did not answer within 0 s"):
            await client._sender.call("GET", "/", timeout_seconds=0.05)
        await client.aclose()
        await speaker.quiet()
        leaks.finish()
    for address in [speaker.address, f"unix://{tmp_path}/none.sock"]:
        client = Consul(from_flags(address, "", {}))
        with pytest.raises(Unavailable, match="cannot reach Consul"):
            await client.catalog.datacenters()
        await client.aclose()


async def test_a_unix_socket_serves_as_well(connect: Connect, tmp_path: Path) -> None:
    async with speaking([reply(b'["dc1"]')], path=tmp_path / "consul.sock") as speaker:
        assert await connect(from_flags(speaker.address, "", {})).catalog.datacenters() == ("dc1",)
        assert b"Host: localhost\r\n" in speaker.asked[0]
