"""A local network: a bridge in a namespace of its own, and the cables that lead from it to hosts.

The bridge's namespace has no IPv6 and sends nothing itself. Whatever goes wrong on the way, loss, firewalls and
partitions, is one nftables ruleset on the bridge, written anew as a whole on every change, so carrier stays; `cut` pulls
the cable instead.
"""

import contextlib
import ipaddress
import itertools
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from tests.lab.host import Host
from tests.lab.namespace import Namespace

AUTO: Final = ("auto",)
"""Addresses by position: the first host has .1 and ::1."""

_SWITCH_SETUP = (
    "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
    "link set br0 up",
)


class Nic:
    """One interface of a host and the port of the bridge it leads to."""

    def __init__(
        self, lan: "Lan", host: Host, name: str, port: str, *, addresses: Sequence[str], multicast: bool, default_route: bool
    ) -> None:
        self.lan = lan
        self.host = host
        self.name = name
        self.port = port
        self.addresses = tuple(addresses)
        self._multicast = multicast
        self._default_route = default_route

    @property
    def address(self) -> str:
        """Its first address, without the prefix length."""
        return self.addresses[0].partition("/")[0]

    @property
    def mac(self) -> str:
        return self.host.run(["cat", f"/sys/class/net/{self.name}/address"]).stdout.strip()

    @property
    def link_local(self) -> str:
        """Its IPv6 link-local address, without scope; empty while there is none."""
        shown = self.host.run(["ip", "-6", "-oneline", "address", "show", "dev", self.name, "scope", "link"]).stdout.split()
        return shown[shown.index("inet6") + 1].partition("/")[0] if "inet6" in shown else ""

    def plug(self) -> None:
        """Make the interface and its cable: up, with its addresses and the default route."""
        self.lan.switch.ip(
            f"link add {self.port} type veth peer name {self.name} netns {self.host.namespace.pid}",
            f"link set {self.port} master br0 up",
        )
        self.host.ip(
            f"link set {self.name} multicast {'on' if self._multicast else 'off'} up",
            *(f"address add {address} dev {self.name}" for address in self.addresses),
            *self._routes(),
        )

    def unplug(self) -> None:
        """Take the interface out of the host: a USB adapter pulled, a virtual machine's card removed."""
        self.host.ip(f"link delete {self.name}")

    def recreate(self) -> None:
        """The same name and addresses on another interface: new index, new MAC."""
        self.unplug()
        self.plug()

    def down(self) -> None:
        """Switch it off on the host's side."""
        self.host.ip(f"link set {self.name} down")

    def up(self) -> None:
        """Switch it on again, with what the kernel drops in between."""
        present = self.host.run(["ip", "-oneline", "address", "show", "dev", self.name]).stdout
        lost = [address for address in self.addresses if f" {address} " not in present]
        self.host.ip(
            f"link set {self.name} up", *(f"address add {address} dev {self.name}" for address in lost), *self._routes()
        )

    def readdress(self, *addresses: str) -> None:
        """Other addresses, with prefix length, in place of the present ones; none: it loses them all."""
        former, self.addresses = self.addresses, addresses
        delete = (f"address delete {address} dev {self.name}" for address in former)
        add = (f"address add {address} dev {self.name}" for address in addresses)
        self.host.ip(*delete, *add, *self._routes())  # in one go: between the two the machine would be nowhere

    def _routes(self) -> list[str]:
        if not self._default_route:
            return []
        return [f"route replace default via {gateway(address)} dev {self.name}" for address in _one_per_version(self.addresses)]


class Lan:
    """One network. Hosts made by it end with it; hosts of another may be attached too."""

    def __init__(self, prefix: str | None = "10.77.1.0/24", *, prefix6: str | None = None) -> None:
        """`prefix` and `prefix6` are what addresses are taken from; with neither, hosts have link-local IPv6 only."""
        self._prefixes = [ipaddress.ip_network(each) for each in (prefix, prefix6) if each]
        self._ports = itertools.count(1)
        self._rules: dict[str, list[str]] = {}
        self._nics: list[Nic] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.switch = Namespace("switch", machine_id="")
            stack.callback(self.switch.close)
            self.switch.nft("table bridge lab {}\n")
            for scope in ("all", "default"):
                self._silence(scope)
            self.switch.ip(*_SWITCH_SETUP)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def host(
        self,
        name: str,
        *,
        addresses: Sequence[str] = AUTO,
        multicast: bool = True,
        default_route: bool = True,
        machine_id: str | None = None,
    ) -> Host:
        """A host with `eth0` on this network; `name` is its hostname."""
        host = self.bare_host(name, machine_id=machine_id)
        self.attach(host, addresses=addresses, multicast=multicast, default_route=default_route)
        return host

    def bare_host(self, name: str, *, machine_id: str | None = None) -> Host:
        """A host with no interface yet: it has just booted."""
        return self._stack.enter_context(Host(name, machine_id=machine_id))

    def attach(
        self,
        host: Host,
        name: str = "eth0",
        *,
        addresses: Sequence[str] = AUTO,
        multicast: bool = True,
        default_route: bool = True,
    ) -> Nic:
        """Lead a cable to a host. `addresses` have a prefix length; none: IPv6 link-local only."""
        number = next(self._ports)
        chosen = self._addresses(number) if tuple(addresses) == AUTO else tuple(addresses)
        nic = Nic(self, host, name, f"p{number}", addresses=chosen, multicast=multicast, default_route=default_route)
        nic.plug()
        self._nics.append(nic)
        return nic

    def nic(self, host: Host) -> Nic:
        """A host's first interface on this network."""
        return self.nics(host)[0]

    def nics(self, host: Host) -> list[Nic]:
        """A host's interfaces on this network."""
        return [nic for nic in self._nics if nic.host is host]

    def address(self, host: Host) -> str:
        """A host's first address on this network."""
        return self.nic(host).address

    def cut(self, *hosts: Host) -> None:
        """Pull the cables of hosts: they lose carrier."""
        self.switch.ip(*(f"link set {nic.port} down" for host in hosts for nic in self.nics(host)))

    def heal(self, *hosts: Host) -> None:
        """Plug them in again."""
        self.switch.ip(*(f"link set {nic.port} up" for host in hosts for nic in self.nics(host)))

    def isolate(self, host: Host) -> None:
        """Drop everything from and to a host; its carrier stays, as behind a broken switch."""
        self._set(f"isolate {id(host)}", [f"{way} {self._set_of([host])} drop" for way in ("iifname", "oifname")])

    def rejoin(self, host: Host) -> None:
        """Undo `isolate`."""
        self._set(f"isolate {id(host)}", [])

    def partition(self, *groups: Iterable[Host]) -> None:
        """Let hosts reach only those of their own group. Without groups: whole again."""
        sets = [self._set_of(group) for group in groups]
        self._set("partition", [f"iifname {a} oifname {b} drop" for a, b in itertools.permutations(sets, 2)])

    def loss(self, percent: float, *, host: Host | None = None) -> None:
        """Lose packets by chance, everywhere or to and from one host; 0 ends it."""
        chance = f"numgen random mod 1000 < {round(percent * 10)} drop"
        ways = [""] if host is None else [f"{way} {self._set_of([host])} " for way in ("iifname", "oifname")]
        self._set(f"loss {id(host) if host else 0}", [way + chance for way in ways] if percent else [])

    def firewall(self, host: Host, *tcp_ports: int) -> None:
        """Drop TCP to these ports of a host without an answer; no ports: open again."""
        to_host = f"oifname {self._set_of([host])}"
        self._set(
            f"firewall {id(host)}",
            [f"{to_host} ether type {kind} tcp dport {port} drop" for port in tcp_ports for kind in ("ip", "ip6")],
        )

    def drop_multicast(self, *, between: bool = True) -> None:
        """Let no multicast and no IPv6 neighbour discovery through; ARP and unicast pass. `between=False` ends it."""
        self._set("multicast", ["meta pkttype multicast drop"] if between else [])

    def _addresses(self, number: int) -> tuple[str, ...]:
        return tuple(f"{prefix[number]}/{prefix.prefixlen}" for prefix in self._prefixes)

    def _set_of(self, hosts: Iterable[Host]) -> str:
        return "{ " + ", ".join(nic.port for host in hosts for nic in self.nics(host)) + " }"

    def _set(self, name: str, rules: list[str]) -> None:
        self._rules[name] = rules
        lines = "\n".join(rule for each in self._rules.values() for rule in each)
        chain = f"chain forward {{\ntype filter hook forward priority 0; policy accept;\n{lines}\n}}\n"
        self.switch.nft(f"delete table bridge lab\ntable bridge lab {{\n{chain}}}\n")

    def _silence(self, scope: str) -> None:
        setting = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
        self.switch.call(lambda: _write_if_there(setting, "1"))


def gateway(address: str) -> str:
    """The last usable address of the network an address with prefix length is in: where the router would be."""
    network = ipaddress.ip_interface(address).network
    return str(network[-2])


def _one_per_version(addresses: Iterable[str]) -> list[str]:
    return list({ipaddress.ip_interface(address).version: address for address in reversed(list(addresses))}.values())


def _write_if_there(path: str, text: str) -> None:
    with contextlib.suppress(FileNotFoundError), open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - must not create
        file.write(text)
