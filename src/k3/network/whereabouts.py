"""Where this machine is, as it tells others: its links, its addresses in order, and what is said when they change."""

import logging
from collections.abc import Callable, Iterable, Sequence

from k3.network.links import Links
from k3.network.standing import Reached

log = logging.getLogger(__name__)


class Whereabouts:
    """The links in use now, and at which addresses others have arrived."""

    def __init__(self) -> None:
        """On no link yet."""
        self.links = Links()
        self.cover: Callable[[Iterable[str]], None] = lambda _: None
        """Have the health server answer on these interfaces by themselves."""
        self._reached = Reached()
        self._told: dict[str, Sequence[str]] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """What to tell others, in the order in which they should try."""
        return self._reached.in_order(self.links.addresses)

    def begin_with(self, addresses: Iterable[str]) -> None:
        """What the store shows from the last run."""
        self._reached.begin_with(addresses)

    def met(self, local: str, remote: str) -> bool:
        """Somebody has arrived at one of our addresses. Returns whether that is news: a neighbour, at a new one."""
        return self._reached.met(local, remote, self.links)

    def move(self, links: Links) -> None:
        """The links are these now: say so where it reads differently than before, and that nobody can be asked any more."""
        self.links = links
        self.cover(links.twins)
        names = [each.name if each.running else f"{each.name} (no carrier)" for each in links.interfaces]
        fields = {"interfaces": names, "addresses": links.addresses}
        if fields == self._told:
            return
        self._told = fields
        log.info("network.links_changed", extra={"fields": fields})
        if not links.running:
            advice = "nobody can be asked, and nobody is blamed; plug the cable in, or set the interface up"
            log.warning("network.cut_off", extra={"fields": {"interfaces": names, "advice": advice}})
