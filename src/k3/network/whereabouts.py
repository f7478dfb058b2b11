"""Where this machine is, as it announces it: its links, its addresses in order, and what is logged when they change."""

import logging
from collections.abc import Callable, Iterable

from k3.network.links import Interface, Links
from k3.network.standing import Reached

log = logging.getLogger(__name__)


class Whereabouts:
    """The links in use now, and the addresses at which others have arrived."""

    def __init__(self) -> None:
        """Begins with no link."""
        self.links = Links()
        self.cover: Callable[[Iterable[str]], None] = lambda _: None
        """Has the health server answer on these interfaces by sockets of their own."""
        self._reached = Reached()
        self._told: dict[str, object] = {}
        self._lost: set[str] = set()

    @property
    def addresses(self) -> tuple[str, ...]:
        """What to announce, in the order in which others should try them."""
        return self._reached.in_order(self.links.addresses)

    def begin_with(self, addresses: Iterable[str]) -> None:
        """Takes in what the store shows of the last run."""
        self._reached.begin_with(addresses)

    def met(self, local: str, remote: str) -> bool:
        """Takes in a connection to one of this machine's addresses. Returns whether that is news: a neighbour, at a new one."""
        return self._reached.met(local, remote, self.links)

    def move(self, links: Links) -> None:
        """Takes in the links as they are now; logs which was lost or is back, and that no peer can be asked if none is left."""
        former, self.links = self.links, links
        self.cover(links.twins)
        self._tell(former, links)
        if former.running and not links.running:
            names = [each.name for each in links.interfaces]
            advice = "nobody can be asked, and nobody is blamed; plug the cable in, or set the interface up"
            log.warning("network.cut_off", extra={"fields": {"interfaces": names, "advice": advice}})

    def _tell(self, former: Links, links: Links) -> None:
        """Logs what changes, above all which link this machine has lost: the silence of others is then its own fault."""
        before, after = ({each.name: each for each in state.interfaces} for state in (former, links))
        for name in [name for name, each in before.items() if _works(each)]:
            now = after.get(name)
            if now is None or not _works(now):
                why = "it is down, or gone" if now is None else "no address" if now.running else "no carrier"
                log.warning("network.link_lost", extra={"fields": {"interface": name, "why": why}})
                self._lost.add(name)
        for name in [name for name in sorted(self._lost) if name in after and _works(after[name])]:
            self._lost.discard(name)
            log.info("network.link_back", extra={"fields": {"interface": name}})
        had, have = ([(each.name, each.index, each.addresses) for each in state.values()] for state in (before, after))
        fields: dict[str, object] = {"interfaces": list(after), "addresses": links.addresses}
        if had != have and fields != self._told:
            self._told = fields
            log.info("network.links_changed", extra={"fields": fields})


def _works(interface: Interface) -> bool:
    return interface.running and bool(interface.addresses)
