"""Which interfaces count, what is on-link, and that every change is noticed once it has settled."""

import asyncio
import json
import sys
from contextlib import aclosing
from dataclasses import replace

import pytest

from k3.core import limits
from k3.core.errors import Invalid
from k3.network import link_changes
from k3.network.links import Interface, Links
from tests.lab import Host, Lan, Process, until
from tests.network.speaking import ROOT

ETH0 = Interface(
    name="eth0",
    index=2,
    mac="02:00:00:00:00:01",
    running=True,
    addresses=("10.0.0.1", "fd00::1", "fe80::1"),
    prefixes=("10.0.0.0/24", "fd00::/64", "fe80::/64"),
)
HERE = Links((ETH0,))


@pytest.mark.parametrize("address", ["10.0.0.2", "10.0.0.1", "fd00::99", "fe80::2%eth0"])
def test_on_link(address: str) -> None:
    assert HERE.on_link(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.1.2",
        "10.0.0.0",
        "10.0.0.255",
        "fd01::1",
        "fe80::2",
        "fe80::2%eth9",
        "127.0.0.1",
        "::1",
        "224.0.0.1",
        "0.0.0.0",
        "::",
        "10.0.0.2%eth0",
        "fd00::1%eth0",
        "",
        "x",
        "10.0.0.2/24",
        "::ffff:10.0.0.2",
        "255.255.255.255",
    ],
)
def test_not_on_link(address: str) -> None:
    assert not HERE.on_link(address)


def test_both_ends_of_a_point_to_point_link_are_hosts() -> None:
    link = Links((replace(ETH0, addresses=("10.0.0.0",), prefixes=("10.0.0.0/31",)),))
    assert link.on_link("10.0.0.0")
    assert link.on_link("10.0.0.1")


def test_what_is_announced_and_shared() -> None:
    assert HERE.addresses == ("10.0.0.1", "fd00::1")
    assert HERE.prefixes == ("10.0.0.0/24", "fd00::/64")
    alone = Links((replace(ETH0, addresses=("fe80::1",), prefixes=("fe80::/64",)),))
    assert alone.addresses == ("fe80::1",)
    assert alone.prefixes == ()
    assert Links().addresses == ()
    assert not Links().running


def test_bounds() -> None:
    many = [replace(ETH0, index=n, addresses=(f"10.{n}.0.1",), prefixes=(f"10.{n}.0.0/24",)) for n in range(100)]
    assert len(Links(tuple(many)).addresses) == limits.LINKS
    assert len(Links(tuple(many)).prefixes) == limits.LINKS


def test_an_interface_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(Invalid, match=r"'nope'.*\blo\b"):
        link_changes.read(["nope"])


async def test_only_differences_are_reported() -> None:
    states = [HERE, HERE, Links(), Links(), Links((replace(ETH0, index=3),))]

    def look(_only: object) -> Links:
        return states.pop(0) if len(states) > 1 else states[0]

    async with (
        asyncio.timeout(20),
        aclosing(link_changes.changes(HERE, poll_seconds=0.001, quiet_seconds=0.001, look=look)) as changes,
    ):
        assert [await anext(changes), await anext(changes)] == [Links(), Links((replace(ETH0, index=3),))]


# --- In real networks ---------------------------------------------------------------------------------------------------


def names(host: Host, *only: str) -> list[str]:
    return [each.name for each in host.call(lambda: link_changes.read(only)).interfaces]


@pytest.mark.netns
def test_what_is_chosen(lan: Lan) -> None:
    host = lan.host("a")
    host.ip(
        "link add docker0 type bridge", "link set docker0 up", "addr add 172.17.0.1/16 dev docker0",
        "link add br-0123456789ab type bridge", "link set br-0123456789ab up",
        "link add vethx type veth peer name vethy", "link set vethx up", "link set vethy up",
        "link add br0 type bridge", "link set br0 up",
        "link add part type veth peer name partner", "link set part master br0 up",
        "link add down0 type bridge",
        "link add quiet0 type bridge", "link set quiet0 up multicast off",
    )  # fmt: skip
    assert names(host) == ["eth0", "br0"]
    assert names(host, "docker0") == ["docker0"]
    assert names(host, "quiet0") == []
    host.ip("route add default dev docker0 metric 9")
    assert "docker0" in names(host)


@pytest.mark.netns
def test_addresses_and_carrier(lan: Lan) -> None:
    host = lan.host("a")
    found = host.call(link_changes.read).interfaces[0]
    assert (found.addresses[0], found.prefixes[0], found.running) == ("10.77.1.1", "10.77.1.0/24", True)
    assert found.mac == lan.nic(host).mac
    lan.cut(host)
    until(lambda: not host.call(link_changes.read).running, what="a lost carrier")


WATCH = """
import asyncio, json
from dataclasses import asdict
from k3.network import link_changes
async def main():
    first = link_changes.read()
    print("watching", flush=True)
    async for new in link_changes.changes(first, poll_seconds=60):
        print(json.dumps([asdict(each) for each in new.interfaces]), flush=True)
asyncio.run(main())
"""


def watch(host: Host) -> Process:
    process = host.start([sys.executable, "-c", WATCH], env={"PYTHONPATH": str(ROOT / "src")})
    process.wait_for("watching")
    return process


@pytest.mark.netns
def test_changes_are_told_by_the_kernel_and_not_only_found_by_polling(lan: Lan) -> None:
    host = lan.host("a")
    until(
        lambda: any(a.startswith("fe80") for a in host.call(link_changes.read).interfaces[0].addresses),
        what="a settled address",
    )
    process = watch(host)
    host.ip("addr add 10.77.9.1/24 dev eth0")
    process.wait_for("10.77.9.1")
    lan.nic(host).recreate()
    index = host.call(link_changes.read).interfaces[0].index
    process.wait_for(f'"index": {index}')
    lan.cut(host)
    process.wait_for('"running": false')
    assert all(json.loads(line) for line in process.lines[1:2])


async def test_a_change_before_anybody_watches_is_seen_at_once() -> None:
    old, new = (
        Links(()),
        Links((Interface(name="eth0", index=2, mac="", running=True, addresses=("10.0.0.1",), prefixes=("10.0.0.0/24",)),)),
    )
    async with asyncio.timeout(2), aclosing(link_changes.changes(old, poll_seconds=60, look=lambda _: new)) as news:
        assert await anext(news) == new
