"""Which interfaces are a LAN, and which of their addresses others should use first."""

import asyncio

import pytest

from k3.network import interfaces, link_changes
from k3.network.interfaces import in_order
from k3.network.links import Interface, Links
from k3.network.netlink import (
    IFF_LOOPBACK,
    IFF_MULTICAST,
    IFF_NOARP,
    IFF_POINTOPOINT,
    IFF_RUNNING,
    IFF_UP,
    AddressEntry,
    LinkEntry,
    WayOut,
)
from k3.network.standing import Reached
from tests.lab import Host, Lan

UP = IFF_UP | IFF_MULTICAST | IFF_RUNNING

DOCKER = ("docker0", "docker_gwbridge", "br-0123456789ab")
BRIDGES = (*DOCKER, "virbr0", "cni0", "nerdctl0", "podman0", "lxcbr0", "lxdbr0", "incusbr0", "kube-bridge", "weave", "cbr0")


def entry(name: str, index: int = 2, *, kind: str = "", flags: int = 0, master: int = 0) -> LinkEntry:
    return LinkEntry(index=index, name=name, flags=UP | flags, master=master, mac="", kind=kind)


def address(text: str, *, flags: int = 0, protocol: int = 0) -> AddressEntry:
    literal, _, length = text.partition("/")
    return AddressEntry(index=2, address=literal, prefix_length=int(length), flags=flags, protocol=protocol)


@pytest.mark.parametrize(
    "other",
    [
        entry("lo", flags=IFF_LOOPBACK),
        entry("ppp0", flags=IFF_POINTOPOINT),
        entry("office", flags=IFF_NOARP),
        entry("mesh", kind="tun"),
        entry("mesh", kind="wireguard"),
        entry("overlay", kind="vxlan"),
        entry("part", kind="veth", master=9),
        *(
            entry(name, kind="veth")
            for name in ("tun0", "wg0", "tailscale0", "ztabcdef01", "flannel.1", "vxlan.calico", "cilium_host", "cali0a1b2c3d")
        ),
        *(entry(name, kind="bridge") for name in BRIDGES),
    ],
    ids=lambda each: f"{each.name}-{each.kind}",
)
def test_tunnels_overlays_and_containers_are_left_out_unless_named(other: LinkEntry) -> None:
    lan = entry("eth0", 3)
    assert interfaces.chosen([other, lan], (), ["eth0"]) == [lan]
    if not other.flags & IFF_LOOPBACK:
        assert interfaces.chosen([other, lan], [other.name], ["eth0"]) == [other]


def test_a_tunnel_stays_out_with_a_default_route_and_a_container_bridge_comes_in() -> None:
    tunnel, bridge = entry("tun0", kind="tun", flags=IFF_POINTOPOINT), entry("docker0", 3, kind="bridge")
    assert interfaces.chosen([tunnel, bridge], (), ["tun0", "docker0"]) == [bridge]


def test_what_leads_out_comes_first_then_the_kernels_order_then_what_only_guests_are_on() -> None:
    host_only, guests = entry("vboxnet0", 2), entry("lab0", 3, kind="bridge")
    first, second, out = entry("eth1", 4), entry("eth2", 5), entry("wlan0", 6)
    wired, port = entry("br0", 7, kind="bridge"), entry("enp1s0", 8, master=7)
    every = [host_only, guests, first, second, out, wired, port]
    assert [e.name for e in interfaces.chosen(every, (), ["wlan0"])] == ["wlan0", "eth1", "eth2", "br0", "vboxnet0", "lab0"]
    assert interfaces.chosen([guests, first], (), ["lab0"]) == [guests, first]


@pytest.mark.parametrize(
    ("mine", "ways", "order", "spare"),
    [
        (["10.0.0.9/24", "10.0.0.10/24"], [], ["10.0.0.9", "10.0.0.10"], []),
        (["10.0.0.10/24", "10.0.0.9/24"], [], ["10.0.0.10", "10.0.0.9"], []),
        (["10.0.0.9/24", "192.168.1.5/24"], [WayOut("192.168.1.5", "192.168.1.1")], ["192.168.1.5", "10.0.0.9"], []),
        (["10.0.0.100/32", "10.0.0.9/24"], [], ["10.0.0.100", "10.0.0.9"], ["10.0.0.100"]),
        (["10.0.0.9/32"], [WayOut("10.0.0.9", "10.0.0.1")], ["10.0.0.9"], []),
        (["10.0.2.15/24"], [WayOut("10.0.2.15", "10.0.2.2")], ["10.0.2.15"], ["10.0.2.15"]),
        (["10.0.3.15/24"], [WayOut("10.0.3.15", "10.0.3.2")], ["10.0.3.15"], ["10.0.3.15"]),
        (["10.0.3.15/24"], [WayOut("10.0.3.15", "10.0.3.1")], ["10.0.3.15"], []),
        (["fd00::5/64", "10.0.0.9/24"], [], ["10.0.0.9", "fd00::5"], []),
    ],
)
def test_the_order_of_addresses(mine: list[str], ways: list[WayOut], order: list[str], spare: list[str]) -> None:
    found = in_order(entry("eth0"), [address(each) for each in mine], ways)
    assert [each.address for each in found.addresses] == order
    assert list(found.spare) == spare


def test_addresses_that_programs_move_are_spare() -> None:
    mine = [address("10.0.0.9/24"), address("10.0.0.50/24", flags=0x01), address("10.0.1.50/24", protocol=18)]
    assert in_order(entry("eth0"), mine, ()).spare == ("10.0.0.50", "10.0.1.50")


def test_spare_addresses_come_last_whatever_the_interface() -> None:
    nat = Interface(
        name="eth0", index=2, mac="", running=True, addresses=("10.0.2.15",), prefixes=("10.0.2.0/24",), spare=("10.0.2.15",)
    )
    lan = Interface(name="eth1", index=3, mac="", running=True, addresses=("192.168.56.11",), prefixes=("192.168.56.0/24",))
    assert Links((nat, lan)).addresses == ("192.168.56.11", "10.0.2.15")


# --- where others have really arrived

UPLINK = Interface(name="eth0", index=2, mac="", running=True, addresses=("10.1.0.5",), prefixes=("10.1.0.0/24",))
CLUSTER = Interface(
    name="eth1", index=3, mac="", running=True, addresses=("10.2.0.5", "10.2.0.6"), prefixes=("10.2.0.0/24", "10.2.0.0/24")
)
BOTH = Links((UPLINK, CLUSTER))


def test_the_address_at_which_a_neighbour_arrived_comes_first_and_two_do_not_take_turns() -> None:
    reached = Reached()
    assert reached.in_order(BOTH.addresses) == ("10.1.0.5", "10.2.0.5", "10.2.0.6")
    assert reached.met("::ffff:10.2.0.6", "::ffff:10.2.0.9", BOTH)
    assert reached.in_order(BOTH.addresses) == ("10.2.0.6", "10.1.0.5", "10.2.0.5")
    assert reached.met("10.2.0.5", "10.2.0.9", BOTH)
    assert not reached.met("10.2.0.6", "10.2.0.10", BOTH)
    assert reached.in_order(BOTH.addresses) == ("10.2.0.5", "10.2.0.6", "10.1.0.5")


@pytest.mark.parametrize(
    ("local", "remote"),
    [("10.2.0.5", "10.2.0.5"), ("10.2.0.5", "10.1.0.5"), ("127.0.0.1", "127.0.0.1"), ("10.2.0.5", "203.0.113.9"), ("", "")],
)
def test_oneself_and_strangers_are_no_neighbours(local: str, remote: str) -> None:
    assert not Reached().met(local, remote, BOTH)


def test_neighbours_on_a_link_with_link_local_addresses_only() -> None:
    link = Links((Interface(name="eth0", index=2, mac="", running=True, addresses=("fe80::1",), prefixes=("fe80::/64",)),))
    assert Reached().met("fe80::1%eth0", "fe80::2%eth0", link)
    assert not Reached().met("fe80::1%eth0", "fe80::1%eth0", link)


def test_the_order_of_the_last_run_holds_until_somebody_arrives() -> None:
    reached = Reached()
    reached.begin_with(["10.2.0.5", "10.1.0.5"])
    assert reached.in_order(BOTH.addresses)[0] == "10.2.0.5"
    reached.met("10.1.0.5", "10.1.0.9", BOTH)
    assert reached.in_order(BOTH.addresses)[0] == "10.1.0.5"


# --- two interfaces on one network

DEAD = Interface(name="eth0", index=2, mac="", running=False, addresses=("10.1.0.5",), prefixes=("10.1.0.0/24",))
TWIN = Interface(name="eth2", index=4, mac="", running=True, addresses=("10.1.0.6",), prefixes=("10.1.0.0/24",))


def test_what_the_kernel_would_send_into_a_dead_link_goes_by_the_live_one() -> None:
    links = Links((DEAD, CLUSTER, TWIN))
    assert links.twins == ("eth2",)
    assert [links.detour(each) for each in ("10.1.0.9", "10.2.0.9", "10.9.0.9", "fe80::1%eth0")] == ["eth2", "", "", ""]
    assert links.on_link("10.1.0.9")
    assert Links((UPLINK, TWIN)).twins == ()
    assert not Links((DEAD, CLUSTER)).on_link("10.1.0.9")


def test_the_best_way_to_a_peer_is_tried_first() -> None:
    spare = Interface(
        name="eth0", index=2, mac="", running=True, addresses=("10.0.2.15",), prefixes=("10.0.2.0/24",), spare=("10.0.2.15",)
    )
    links = Links((spare, CLUSTER, UPLINK))
    tried = sorted(["10.0.2.16", "10.1.0.9", "10.2.0.9", "10.9.0.9"], key=links.place)
    assert tried == ["10.2.0.9", "10.1.0.9", "10.0.2.16", "10.9.0.9"]


# --- in real networks


def read(host: Host) -> Links:
    return host.call(link_changes.look)


@pytest.mark.netns
def test_the_kernel_says_which_address_is_whose(lan: Lan) -> None:
    host = lan.host("a", addresses=["10.77.1.10/24"], default_route=False)
    host.ip(
        "address add 10.77.1.9/24 dev eth0", "address add 10.77.1.200/32 dev eth0", "address add 10.78.0.10/24 dev eth0",
        "link add vxlan7 type vxlan id 7 dev eth0 dstport 4789", "address add 10.77.3.1/24 dev vxlan7", "link set vxlan7 up",
        "link add lab0 type bridge", "address add 10.77.4.1/24 dev lab0", "link set lab0 up",
        "link add nerdctl0 type bridge", "address add 10.4.0.1/24 dev nerdctl0", "link set nerdctl0 up",
        "tuntap add mode tun name office", "address add 10.8.0.6/24 dev office", "link set office up",
    )  # fmt: skip
    lan.attach(host, "eth1", addresses=["10.79.0.1/24"], default_route=False)
    host.ip("route add default via 10.78.0.1 dev eth0")
    found = read(host)
    assert [each.name for each in found.interfaces] == ["eth0", "eth1", "lab0"]
    assert found.addresses == ("10.78.0.10", "10.77.1.10", "10.79.0.1", "10.77.4.1", "10.77.1.200", "10.77.1.9")


@pytest.mark.netns
def test_a_link_without_a_carrier_leads_to_nobody(lan: Lan) -> None:
    host = lan.host("a")
    assert read(host).on_link("10.77.1.99")
    lan.cut(host)
    asyncio.run(asyncio.sleep(0.2))
    found = read(host)
    assert found.addresses[0] == "10.77.1.1"
    assert not found.on_link("10.77.1.99")
