"""A host name that leads nowhere is named, and told apart from a server that is silent."""

import socket

import pytest

from k3.agent import host_names
from k3.agent.http import Server, get
from k3.discovery.troubles import no_answer
from k3.doctor import store
from k3.stores.etcd.settings import EtcdStorage

NOWHERE = "consul.no-such-host.invalid"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo", "localhost"])
async def test_an_address_and_a_known_name_lead_somewhere(host: str) -> None:
    assert await host_names.unknown(host, seconds=10) == ""


@pytest.mark.parametrize("host", [NOWHERE, "a..b", "x" * 70 + ".lan"])
async def test_a_name_without_an_address_is_named(host: str) -> None:
    assert host in await host_names.unknown(host, seconds=10)


async def test_a_link_local_address_of_a_name_keeps_its_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nss-mdns gives it for a name in .local."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert await host_names.addresses("hub.local", 80, seconds=10) == ["fe80::1%3"]


async def test_a_client_names_the_host_it_cannot_find() -> None:
    with pytest.raises(socket.gaierror) as caught:
        await get(Server(host=NOWHERE, port=8500), "/", timeout_seconds=10)
    told = str(no_answer(caught.value, f"http://{NOWHERE}:8500", waited_seconds=10))
    assert f"the host name {NOWHERE}" in told
    assert "within" not in told


def test_whether_a_name_server_has_said_so_is_told() -> None:
    assert host_names.why_unknown("a", socket.gaierror(socket.EAI_NONAME, "")) == "the host name a is not known"
    assert "no name server answers" in host_names.why_unknown("a", socket.gaierror(socket.EAI_AGAIN, ""))
    assert host_names.why_unknown("a", socket.gaierror(socket.EAI_ADDRFAMILY, "")) == "the host name a has no address"
    told = host_names.why_unknown("a", socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure"))
    assert told == "the host name a cannot be looked up (Memory allocation failure)"


def test_every_host_of_a_cluster_is_looked_up() -> None:
    storage = EtcdStorage(endpoints=("http://a.lan:2379", "http://b.lan:2379"))
    assert store._hosts(storage) == ["a.lan", "b.lan"]
