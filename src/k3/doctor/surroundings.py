"""The network that this machine is on: which interfaces can carry multicast, and why the others cannot."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from k3.agent import facts
from k3.core.errors import K3Error
from k3.core.records import dataclass
from k3.doctor.finding import Finding, Subject, note, ok, problem, warning
from k3.network import link_changes, netlink
from k3.network.interfaces import is_of_containers, is_tunnel
from k3.network.links import Links
from k3.network.netlink import LinkEntry

_CLASS: Final = Path("/sys/class/net")
_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_IN_CONTAINER: Final = re.compile(r"docker|kubepods|libpod|containerd|/lxc/")
_DOCKERS_MAC: Final = "02:42:"
"""How Docker begins the address of a container's interface on a bridge of its own."""

HOST_NETWORK: Final = ("docker run --network host ...", "podman run --network host ...")
BRIDGE: Final = "Multicast does not leave the bridge of a container manager: machines on the LAN neither hear k3 nor are heard."
CONSUL: Final = "Use Consul for machines that multicast does not reach: k3 discovery."


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The interfaces of this machine, as the kernel shows them, and which of them k3 uses."""

    links: Links
    entries: tuple[LinkEntry, ...]
    addressed: frozenset[int]
    """The interfaces that have an address, by index."""
    routed: tuple[str, ...]
    """Those that default routes leave through."""
    trouble: str = ""
    """Why the interfaces that a person named cannot be used; empty: they can, or none was named."""

    @property
    def others(self) -> tuple[LinkEntry, ...]:
        """All interfaces but loopback."""
        return tuple(each for each in self.entries if not each.flags & netlink.IFF_LOOPBACK)


def look(named: Sequence[str] = ()) -> Network:
    """Reads the kernel's tables; `named` are the interfaces that k3 was told to use. Raises OSError."""
    entries, addresses = netlink.tables()
    trouble = ""
    try:
        links = link_changes.read(named)
    except K3Error as error:
        links, trouble = link_changes.look(), str(error)
    return Network(
        links=links,
        entries=entries,
        addressed=frozenset(each.index for each in addresses),
        routed=facts.default_route_interfaces(),
        trouble=trouble,
    )


def is_wireless(interface: str) -> bool:
    """Whether it is Wi-Fi."""
    return any((_CLASS / interface / mark).exists() for mark in ("wireless", "phy80211"))


def is_in_container() -> bool:
    """Whether this process runs in a container, as far as that shows."""
    if any(mark.exists() for mark in _MARKS):
        return True
    try:
        return _IN_CONTAINER.search(Path("/proc/1/cgroup").read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False


def is_on_dockers_bridge(network: Network) -> bool:
    """Whether this is a container with a network of its own, behind a bridge of the container manager."""
    used = {each.index for each in network.links.interfaces}
    entries = [each for each in network.entries if each.index in used]
    return bool(entries) and is_in_container() and all(_is_dockers_cable(each) for each in entries)


def _is_dockers_cable(entry: LinkEntry) -> bool:
    return entry.kind == "veth" and entry.mac.startswith(_DOCKERS_MAC)


def interfaces(network: Network) -> Iterable[Finding]:
    """Gives what is to be said of the interfaces."""
    if network.trouble:
        why, do = "k3 was told to use it, and does not start without it.", "Name one that is there, or leave --interface out:"
        yield problem(Subject.INTERFACES, f"{network.trouble}.", why=why, do=do, commands=("ip -br address",))
    running = [each for each in network.links.interfaces if each.running and each.addresses]
    if not running:
        yield _none(network)
        return
    if all(is_of_containers(each.name) for each in running):
        yield _only_containers(each.name for each in running)
        return
    names = ", ".join(f"{each.name} ({each.addresses[0]})" for each in running)
    yield ok(Subject.INTERFACES, f"multicast can be used on {names}")
    for each in network.links.interfaces:
        if not each.running and each.addresses and not is_of_containers(each.name):
            what = f"{each.name} has lost its carrier, and still has the address {each.addresses[0]}."
            why = "Machines that only that link leads to are not reached."
            yield warning(
                Subject.INTERFACES, what, why=why, do="Plug its cable in, or join its Wi-Fi.", commands=_revive(each.name)
            )
    if not network.routed:
        yield note(Subject.INTERFACES, "There is no default route: only machines on the same link can be reached.")
    if tunnels := [name for name in network.routed if is_tunnel(name)]:
        what = f"The default route leads through the tunnel {tunnels[0]}, as a VPN has it."
        yield note(
            Subject.INTERFACES, what, do="If machines of the LAN are missing, look whether the VPN forbids local traffic."
        )


def _none(network: Network) -> Finding:
    """Returns why no interface can be used, the likeliest one first."""
    others = network.others
    own = [each for each in others if not is_of_containers(each.name) and not _is_tunnel(each)]
    why = "Without it no other machine is found, and none finds this one."
    if not others:
        return problem(
            Subject.INTERFACES,
            "This machine has no network interface but loopback.",
            why=why,
            do="Give it a network card, or its container a network; what is there:",
            commands=("ip -br link",),
        )
    if not own:
        if all(_is_tunnel(each) for each in others):
            what = f"The only network is a tunnel ({others[0].name}), which carries no multicast."
            return problem(Subject.INTERFACES, what, why=why, do=CONSUL)
        return _only_containers(each.name for each in others)
    worst = min(own, key=lambda each: _order(each, network))
    what, do, commands = _fault(worst, network)
    return problem(Subject.INTERFACES, what, why=why, do=do, commands=commands)


def _only_containers(names: Iterable[str]) -> Finding:
    what = f"The only network here is a container manager's own ({', '.join(names)})."
    do = "Join the LAN by another interface; run k3 in a container only with the host's network."
    return problem(Subject.INTERFACES, what, why=BRIDGE, do=do, commands=HOST_NETWORK)


def _is_tunnel(entry: LinkEntry) -> bool:
    return bool(entry.flags & netlink.IFF_POINTOPOINT) or is_tunnel(entry.name)


def _order(entry: LinkEntry, network: Network) -> tuple[bool, ...]:
    return (entry.name not in network.routed, entry.index not in network.addressed, not entry.flags & netlink.IFF_UP)


def _fault(entry: LinkEntry, network: Network) -> tuple[str, str, tuple[str, ...]]:
    """Returns what is wrong with an interface, and what to do."""
    name = entry.name
    if not entry.flags & netlink.IFF_UP:
        return f"The interface {name} is down.", "Switch it on.", (f"ip link set {name} up",)
    if not entry.flags & netlink.IFF_RUNNING:
        how = (
            "Join a Wi-Fi network."
            if is_wireless(name)
            else "Plug its cable in; look whether the switch at its other end is on."
        )
        return f"The interface {name} has no carrier: nothing is at its other end.", how, _revive(name)
    if not entry.flags & netlink.IFF_MULTICAST:
        return f"Multicast is switched off on {name}.", "Switch it on.", (f"ip link set {name} multicast on",)
    if entry.index not in network.addressed:
        return f"The interface {name} has no address.", "Have it get one.", (f"networkctl renew {name}", f"dhclient {name}")
    return (
        f"The interface {name} cannot be used for multicast.",
        f"Name one that can: k3 network --interface NAME. {CONSUL}",
        (),
    )


def _revive(name: str) -> tuple[str, ...]:
    return (f"ip link show {name}", *((f"nmcli device connect {name}",) if is_wireless(name) else ()))
