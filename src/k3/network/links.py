"""The interfaces that an agent uses, as they are at one moment, and what is on-link through them. Pure.

Which interfaces count is decided in `k3.network.interfaces`; `k3.network.link_changes` reads them.
"""

import ipaddress
from functools import cached_property
from itertools import zip_longest
from typing import Final

from k3.core import limits
from k3.core.records import dataclass

# Networks of /31 and /32 have no broadcast address (RFC 3021).
_WHOLE_V4: Final = 31

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An interface k3 speaks mDNS on.

    `addresses` are IP literals without scope, settled ones only, the one that others should use first; `prefixes` the
    networks they stand for, in the same order (CIDR). `spare` are those that others should use last: shared between
    machines, or not made to stay. `running` is the carrier.
    """

    name: str
    index: int
    mac: str
    running: bool
    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


@dataclass(frozen=True)  # not slotted: `cached_property` keeps its values in the instance's dict
class Links:
    """The interfaces in use at one moment, the one that leads out first.

    Equal snapshots mean that nothing k3 depends on has changed.
    """

    interfaces: tuple[Interface, ...] = ()

    @property
    def running(self) -> bool:
        """Whether any interface has a carrier and an address."""
        return any(each.running and each.addresses for each in self.interfaces)

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """The networks this machine is on: CIDR, IPv4 first, at most `limits.LINKS`; without link-local IPv6: all have it."""
        every = (ipaddress.ip_network(p) for each in self.interfaces for p in each.prefixes)
        shared = dict.fromkeys(net for net in every if net.version == 4 or not net.is_link_local)  # noqa: PLR2004 - the IP version
        return tuple(str(net) for net in sorted(shared, key=lambda net: net.version))[: limits.LINKS]

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """What to announce: IPv4 first, spare ones last, at most `limits.LINKS`; link-local IPv6 only if there is no other.

        More than a Node shows: a peer needs the one that is on its own link. The order is the kernel's, and it matters, since
        readers take the first (ADR 25).
        """
        every = [(ipaddress.ip_address(a), a in each.spare) for each in self.interfaces for a in each.addresses]
        settled = [(ip, spare) for ip, spare in every if ip.version == 4 or not ip.is_link_local] or every  # noqa: PLR2004 - the IP version
        ordered = sorted(settled, key=lambda each: (each[0].version, each[1]))
        return tuple(dict.fromkeys(str(ip) for ip, _ in ordered))[: limits.LINKS]

    @cached_property
    def places(self) -> frozenset[str]:
        """Every address of this machine on these interfaces, link-local IPv6 with its scope."""
        return frozenset(
            f"{address}%{each.name}" if ipaddress.ip_address(address).is_link_local and ":" in address else address
            for each in self.interfaces
            for address in each.addresses
        )

    @cached_property
    def _networks(self) -> tuple[Network, ...]:
        running = (each for each in self.interfaces if each.running)
        return tuple(dict.fromkeys(ipaddress.ip_network(p) for each in running for p in each.prefixes))

    @cached_property
    def _dead_networks(self) -> tuple[Network, ...]:
        dead = (each for each in self.interfaces if not each.running)
        return tuple(dict.fromkeys(ipaddress.ip_network(p) for each in dead for p in each.prefixes))

    @cached_property
    def twins(self) -> tuple[str, ...]:
        """Interfaces with a carrier on a network that one without a carrier is on too.

        The kernel goes on sending to that network by the dead one, whose addresses and routes stay (ip-sysctl:
        `ignore_routes_with_linkdown` is off by default).
        """
        dead = self._dead_networks
        running = (each for each in self.interfaces if each.running)
        return tuple(each.name for each in running if any(ipaddress.ip_network(p) in dead for p in each.prefixes))

    def detour(self, address: str) -> str:
        """Returns the interface by which an address is to be reached, where the kernel would take a dead one; else empty."""
        if not self.twins or "%" in address:
            return ""
        ip = ipaddress.ip_address(address)
        for each in self.interfaces:
            nets = [ipaddress.ip_network(p) for p in each.prefixes]
            if each.name in self.twins and any(ip in net and net in self._dead_networks for net in nets):
                return each.name
        return ""

    @cached_property
    def _names(self) -> dict[int, str]:
        return {each.index: each.name for each in self.interfaces}

    def name_of(self, index: int) -> str:
        """Returns the name of one of these interfaces, or empty."""
        return self._names.get(index, "")

    def place(self, address: str) -> int:
        """Returns a number, lower for a better way to an on-link address: the link that leads out first, spare ones last."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        return next((n for n, net in enumerate(self._ways) if ip.version == net.version and ip in net), len(self._ways))

    @cached_property
    def _ways(self) -> tuple[Network, ...]:
        pairs = ((a in each.spare, p) for each in self.interfaces for a, p in zip_longest(each.addresses, each.prefixes) if p)
        return tuple(dict.fromkeys(ipaddress.ip_network(p) for _, p in sorted(pairs, key=lambda pair: pair[0])))

    def scoped(self, address: str) -> str:
        """Returns one of these addresses as it can be connected to: a link-local one with its interface."""
        if not address.startswith("fe80:"):
            return address
        return next((f"{address}%{each.name}" for each in self.interfaces if address in each.addresses), address)

    def on_link(self, address: str) -> bool:
        """Whether an address is a host's on one of these networks: reached without a router, and no broadcast or loopback.

        A link without a carrier leads to no machine.
        A link-local IPv6 address is on-link only with the scope of one of these interfaces (`fe80::1%eth0`).
        """
        literal, _, scope = address.partition("%")
        try:
            ip = ipaddress.ip_address(literal)
        except ValueError:
            return False
        if ip.is_multicast or ip.is_loopback or ip.is_unspecified:
            return False
        if ip.version == 6 and ip.is_link_local:  # noqa: PLR2004 - the IP version
            return any(scope == each.name and each.running for each in self.interfaces)
        return not scope and any(ip.version == net.version and ip in net and _is_host(ip, net) for net in self._networks)


def _is_host(ip: Address, net: Network) -> bool:
    return net.version == 6 or net.prefixlen >= _WHOLE_V4 or ip not in (net.network_address, net.broadcast_address)  # noqa: PLR2004 - the IP version
