"""Which interfaces are a LAN that this machine is on, and which of their addresses others should use first.

Theory of operation
-------------------
The kernel is asked before any list of names. An interface counts if it is up and can multicast, and is not

* loopback, or a part of a bridge or bond (its master speaks for it);
* point-to-point or without address resolution, as tunnels are, or a tunnel or overlay by the kernel's word (its *kind*);
* a bridge or cable end of a container or virtual machine manager, by its name, unless a default route leads through it.

Naming an interface (`--interface`) overrides all of that. Those that default routes leave through come first, the smallest
metric first; the others follow in the kernel's order; bridges on which there is nothing but virtual machines or containers
come last, since their address is this machine's own invention and often the same on many machines.

Of an interface's addresses the first is the source that the kernel takes for packets to far away; the others follow in the
kernel's order. *Spare* are addresses that do not stand for this machine alone: secondary ones and single ones (/32) beside
a whole network, which keepalived and kube-vip move between machines, and the address behind a virtual machine's NAT, which
is the same on every machine of its kind.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final

from k3.core.records import dataclass
from k3.network import netlink
from k3.network.netlink import AddressEntry, LinkEntry, WayOut

_USABLE: Final = netlink.IFF_UP | netlink.IFF_MULTICAST
_ONE_TO_ONE: Final = netlink.IFF_POINTOPOINT | netlink.IFF_NOARP
_TUNNELS: Final = frozenset(
    {"tun", "wireguard", "ovpn", "vxlan", "geneve", "gtp", "gretap", "ip6gretap", "erspan", "ip6erspan"}
)
"""Kinds that the flags do not show: overlays look like Ethernet."""
_VIRTUAL_PORTS: Final = frozenset({"veth", "tun", "macvtap", "dummy", "vxlan", "geneve"})
_TUNNEL_NAME: Final = re.compile(r"(tun|tap|wg|tailscale|ppp)\d+|zt[0-9a-z]{8,}|flannel.*|vxlan\.calico|cilium_.*")
_CONTAINER_NAME: Final = re.compile(
    r"docker\d+|docker_gwbridge|br-[0-9a-f]{6,}|virbr\d+.*|vnet\d+|cni.*|veth.*|cali.*|lxc.*|lxdbr\d+|incusbr\d+|podman\d+|"
    r"nerdctl\d+|cbr\d+|kube-(bridge|ipvs\d+)|nodelocaldns|weave|antrea-.*|ovs-system|br-(int|tun)|mpqemubr\d+"
)
_HOST_ONLY_NAME: Final = re.compile(r"vboxnet\d+|vmnet\d+")

_UNSETTLED: Final = 0x08 | 0x20 | 0x40  # duplicate, deprecated, tentative
_SECONDARY: Final = 0x01  # IPv4; the same bit of an IPv6 address means temporary
_BY_KEEPALIVED: Final = 18
_WHOLE: Final = 32
_SLIRP_NETWORK_BITS: Final = 24
_SLIRP_HOST: Final = 15
_SLIRP_ROUTER: Final = 2
_SLIRP: Final = "10.0.2.15"
"""VirtualBox's and QEMU's NAT gives every machine this address (a second adapter 10.0.3.15), with .2 as the router."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """An interface with its settled addresses in order, and those of them that are spare."""

    entry: LinkEntry
    addresses: tuple[AddressEntry, ...]
    spare: tuple[str, ...]


def chosen(entries: Sequence[LinkEntry], only: Sequence[str], routed: Sequence[str]) -> list[LinkEntry]:
    """Returns the interfaces to use, in order. `only` are those a person named, `routed` those with a default route."""
    places = {name: place for place, name in enumerate(routed)}
    wired = {entry.master for entry in entries if entry.master and entry.kind not in _VIRTUAL_PORTS}
    usable = [entry for entry in entries if _counts(entry, only, places)]
    return sorted(usable, key=lambda entry: (places.get(entry.name, len(places)), _is_inner(entry, wired, places)))


def _counts(entry: LinkEntry, only: Sequence[str], routed: Mapping[str, int]) -> bool:
    if entry.flags & _USABLE != _USABLE or entry.flags & netlink.IFF_LOOPBACK:
        return False
    if only:
        return entry.name in only
    if entry.master or entry.flags & _ONE_TO_ONE or entry.kind in _TUNNELS or is_tunnel(entry.name):
        return False
    return entry.name in routed or _CONTAINER_NAME.fullmatch(entry.name) is None


def is_of_containers(name: str) -> bool:
    """Whether an interface is a bridge or cable end of a container or virtual machine manager, by its name."""
    return _CONTAINER_NAME.fullmatch(name) is not None or _HOST_ONLY_NAME.fullmatch(name) is not None


def is_tunnel(name: str) -> bool:
    """Whether an interface is a tunnel or an overlay, by its name."""
    return _TUNNEL_NAME.fullmatch(name) is not None


def _is_inner(entry: LinkEntry, wired: set[int], routed: Mapping[str, int]) -> bool:
    """Whether only guests of this machine are behind it, as far as can be seen."""
    if entry.name in routed:
        return False
    return (entry.kind == "bridge" and entry.index not in wired) or _HOST_ONLY_NAME.fullmatch(entry.name) is not None


def addressed(entry: LinkEntry, addresses: Sequence[AddressEntry]) -> Addressed:
    """Returns an interface with its addresses: asks the kernel which of several it prefers."""
    mine = [each for each in addresses if each.index == entry.index and _is_settled(each)]
    ways = netlink.ways_out(entry.index) if mine else ()
    return in_order(entry, mine, ways)


def in_order(entry: LinkEntry, mine: Sequence[AddressEntry], ways: Sequence[WayOut]) -> Addressed:
    """Returns addresses in order: IPv4 first, then what the kernel prefers (`ways`), then the kernel's order."""
    preferred = {way.source for way in ways}
    gateways = {way.gateway for way in ways if way.gateway}
    ordered = sorted(mine, key=lambda each: (":" in each.address, each.address not in preferred))
    spare = tuple(each.address for each in ordered if _is_moving(each, mine) or _is_behind_nat(each, gateways))
    return Addressed(entry, tuple(ordered), spare)


def _is_settled(entry: AddressEntry) -> bool:
    unsettled = _UNSETTLED | (_SECONDARY if ":" in entry.address else 0)
    return not entry.flags & unsettled


def _is_moving(entry: AddressEntry, beside: Sequence[AddressEntry]) -> bool:
    """Whether a program added it beside the interface's own: it may be on another machine in a moment."""
    if entry.protocol == _BY_KEEPALIVED:
        return True
    if ":" in entry.address:
        return False
    widest = min(each.prefix_length for each in beside if ":" not in each.address)
    return bool(entry.flags & _SECONDARY) or (entry.prefix_length == _WHOLE and widest < _WHOLE)


def _is_behind_nat(entry: AddressEntry, gateways: set[str]) -> bool:
    if ":" in entry.address or entry.prefix_length != _SLIRP_NETWORK_BITS:
        return False
    net = ipaddress.IPv4Network((entry.address, entry.prefix_length), strict=False)
    by_router = entry.address == str(net[_SLIRP_HOST]) and str(net[_SLIRP_ROUTER]) in gateways
    return entry.address == _SLIRP or by_router
