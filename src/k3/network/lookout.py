"""What keeps this machine and others from finding or reaching each other, said once, in words a person can act on.

Theory of operation
-------------------
Three things can be known from here, and each is said when it is known, not before:

* *Multicast is blocked here*: a packet of this machine is refused, or does not come back (`multicast`). Tried at the start,
  after every change of links, and now and then, so that a firewall that is loaded later and one that is opened are noticed.
* *Others are not heard*: a machine of k3's asks this one over TCP, and its announcement has not been heard. Then its
  multicast is lost on the way: a firewall there, a switch, or Wi-Fi that keeps its clients apart.
* *TCP is blocked*: machines are announced and none answers, though not one refuses; or others answer, and none comes
  here, though all should have looked at a newcomer by now.

That no machine at all is heard proves nothing: this may be the only one (ADR 26).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final

from k3.agent.tasks import time_limit
from k3.core import limits
from k3.network import multicast
from k3.network.links import Links
from k3.network.messages import Announcement, Answered, NoAnswer, Outcome, Target
from k3.network.multicast import Blocked
from k3.network.standing import is_neighbour, plain

AGAIN_SECONDS: Final = 60.0
AGAIN_BLOCKED_SECONDS: Final = 5.0
UNHEARD_SECONDS: Final = 4.0
UNVISITED_SECONDS: Final = 12.0
SILENT_ANSWERS: Final = 2

FIREWALLS_UDP: Final = {
    "ufw": "ufw allow 5353/udp",
    "firewalld": "firewall-cmd --permanent --add-service=mdns && firewall-cmd --reload",
    "nftables": "nft insert rule inet filter input udp dport 5353 accept",
}
FIREWALLS_UDP_OUT: Final = {
    "ufw": "ufw allow out 5353/udp",
    "firewalld": (
        "firewall-cmd --permanent --direct --add-rule ipv4 filter OUTPUT 0 -p udp --dport 5353 -j ACCEPT"
        " && firewall-cmd --reload"
    ),
    "nftables": "nft insert rule inet filter output udp dport 5353 accept",
}
FIREWALLS_TCP: Final = {
    "ufw": "ufw allow PORT/tcp",
    "firewalld": "firewall-cmd --permanent --add-port=PORT/tcp && firewall-cmd --reload",
    "nftables": "nft insert rule inet filter input tcp dport PORT accept",
}

log = logging.getLogger(__name__)


class Lookout:
    """Collects what this machine sees of others; `hindrance` is what a person should read instead of a promise.

    The caller keeps `run` going.
    """

    def __init__(self, port: Callable[[], int], *, opened: Callable[[], None], clock: Callable[[], float]) -> None:
        """`port` is where this machine is asked; `opened` is called when multicast gets through again."""
        self._port = port
        self._opened = opened
        self._clock = clock
        self._links = Links()
        self._blocked: tuple[Blocked, ...] = ()
        self._tried = asyncio.Event()
        self._stirred = asyncio.Event()
        self._announced: dict[str, None] = {}
        self._askers: dict[str, float] = {}
        self._is_listening = False
        self._is_answered = False
        self._answered_at: float | None = None
        """When a machine first answered that should come here too, which is one that has an id."""
        self._silent = 0
        self._visited = False
        self._told: set[str] = set()

    # What is seen

    def relinked(self, links: Links) -> None:
        """Takes in the links as they are now."""
        self._links = links
        self._stirred.set()

    def listen(self) -> None:
        """Notes that announcements are passed on from now on: a machine that asks and is not heard is worth a word."""
        self._is_listening = True

    def heard(self, announcement: Announcement) -> None:
        """Takes in a machine's announcement."""
        for address in announcement.addresses:
            self._announced.pop(address, None)
            self._announced[address] = None
            self._askers.pop(address, None)
        while len(self._announced) > limits.PEERS:
            del self._announced[next(iter(self._announced))]

    def asked_by(self, remote: str) -> None:
        """Notes that a machine of k3's has asked this one who it is."""
        address = plain(remote)
        if not is_neighbour(remote, self._links):
            return
        self._visited = True
        if (
            self._is_listening
            and address not in self._announced
            and address not in self._askers
            and len(self._askers) < limits.LINKS
        ):
            self._askers[address] = self._clock()
            self._stirred.set()

    def visited(self) -> None:
        """Notes that a neighbour has connected to this machine, for whatever purpose."""
        self._visited = True

    def probed(self, target: Target, outcome: Outcome) -> None:
        """Takes in how it went when this machine asked another one."""
        if isinstance(outcome, Answered):
            self._is_answered = True
            if self._answered_at is None and outcome.facts.id:
                self._answered_at = self._clock()
                self._stirred.set()
        elif isinstance(outcome, NoAnswer) and any(end.address in self._announced for group in target.groups for end in group):
            self._silent += 1
            self._stirred.set()

    # What is said

    async def hindrance(self) -> str:
        """Returns what keeps this machine from being found, and what to do, as lines for a person; empty: nothing known."""
        await self._tried.wait()
        if not self._links.interfaces:
            return "This machine has no network interface that is up and can multicast: others are found once it has one.\n"
        if not self._blocked:
            return ""
        blocked = [each.interface for each in self._blocked]
        others = {each.name for each in self._links.interfaces if each.running} - set(blocked)
        whose = f"Machines on {', '.join(blocked)}" if others else "Other machines"
        return f"{whose} cannot be found from here: {describe(self._blocked)}. To open it:\n" + "".join(
            f"  {name + ':':<10} {command}\n" for name, command in _remedies(self._blocked)
        )

    async def run(self) -> None:
        """Tries multicast, and logs what becomes known, for ever."""
        while True:
            links = self._links
            await self._try(links)
            self._tried.set()
            again = self._clock() + (AGAIN_BLOCKED_SECONDS if self._blocked else AGAIN_SECONDS)
            while self._links is links and self._clock() < again:
                self._say_what_is_known()
                self._stirred.clear()
                with suppress(TimeoutError):
                    async with time_limit(min(again, *self._deadlines()) - self._clock()):
                        await self._stirred.wait()

    async def _try(self, links: Links) -> None:
        found = await multicast.blocked(links)
        if found == self._blocked:
            return
        former, self._blocked = self._blocked, found
        if found:
            log.warning("multicast.blocked", extra=_said(describe(found), _joined(_remedies(found))))
        elif former:
            log.info("multicast.open", extra={"fields": {"interfaces": [each.interface for each in former]}})
            self._opened()

    def _deadlines(self) -> Iterable[float]:
        """Gives the times at which something more may be known."""
        yield from (since + UNHEARD_SECONDS for since in self._askers.values())
        if self._is_unvisited:
            yield self._visits_due_at
        yield self._clock() + AGAIN_SECONDS

    def _say_what_is_known(self) -> None:
        now = self._clock()
        for address in [address for address, since in self._askers.items() if now - since >= UNHEARD_SECONDS]:
            del self._askers[address]
            if not self._blocked and self._is_first("unheard"):
                what = f"{address} asks this machine over TCP, and its announcements (UDP 5353) are not heard here"
                advice = "look for a firewall there, and for a switch or Wi-Fi that drops multicast between its clients"
                log.warning("multicast.unheard", extra=_said(what, advice))
        if self._silent >= SILENT_ANSWERS and not self._is_answered and self._is_first("unanswered"):
            what = "machines are announced here, and none of them answers: TCP is blocked there, or on its way out of here"
            log.warning("tcp.unanswered", extra=_said(what, _listed(FIREWALLS_TCP, self._port())))
        if self._is_unvisited and now >= self._visits_due_at and self._is_first("unvisited"):
            what = f"other machines answer, and none has come to TCP port {self._port()} here: a firewall of this machine"
            log.warning("tcp.unvisited", extra=_said(what, _listed(FIREWALLS_TCP, self._port())))

    @property
    def _is_unvisited(self) -> bool:
        may_come = self._answered_at is not None and not self._blocked
        return may_come and not self._visited and "unvisited" not in self._told

    @property
    def _visits_due_at(self) -> float:
        return (self._answered_at or 0.0) + UNVISITED_SECONDS

    def _is_first(self, finding: str) -> bool:
        """Whether this has not been told before in this run."""
        is_first = finding not in self._told
        self._told.add(finding)
        return is_first


def describe(found: Collection[Blocked]) -> str:
    """Returns what is blocked where, in one clause."""
    refused = {each.why: [other.interface for other in found if other.why == each.why] for each in found if each.why}
    unheard = [each.interface for each in found if not each.why]
    clauses = [f"multicast (UDP 5353) cannot be sent on {', '.join(names)} ({why})" for why, names in refused.items()]
    clauses += [f"multicast (UDP 5353) does not come in on {', '.join(unheard)}"] if unheard else []
    return "; ".join(clauses) + ", a firewall rule of this machine"


def _said(what: str, advice: str) -> dict[str, dict[str, str]]:
    return {"fields": {"what": what, "advice": advice}}


def _remedies(found: Collection[Blocked]) -> list[tuple[str, str]]:
    """Returns commands by firewall, for the directions that are blocked."""
    outward = list(FIREWALLS_UDP_OUT.items()) if any(each.why for each in found) else []
    inward = list(FIREWALLS_UDP.items()) if any(not each.why for each in found) else []
    return [*outward, *inward]


def _listed(firewalls: Mapping[str, str], port: int) -> str:
    return _joined([(name, command.replace("PORT", str(port))) for name, command in firewalls.items()])


def _joined(commands: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{name}: {command}" for name, command in commands)
