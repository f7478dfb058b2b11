"""At which of this machine's addresses others have really reached it: those come first in what it announces (ADR 25).

Only the machine itself can tell all observers the same order, on one store or on many: it sees where connections of its
neighbours arrive. Pure.
"""

from collections.abc import Iterable
from typing import Final

from k3.network.links import Links

_REMEMBERED: Final = 64


class Reached:
    """The addresses at which neighbours arrived in this run.

    Among these the links' own order decides, so two good addresses do not take turns: each goes up at most once, and which
    one was tried first does not matter in the end.
    """

    def __init__(self) -> None:
        self._arrived: dict[str, None] = {}
        self._former = ""

    def begin_with(self, addresses: Iterable[str]) -> None:
        """Takes in the addresses of the last run: the first one stays first until neighbours arrive."""
        self._former = next(iter(addresses), "")

    def met(self, local: str, remote: str, links: Links) -> bool:
        """Takes in a connection from `remote` to `local`. Returns whether that is news: a neighbour, at a new address."""
        mine = plain(local).partition("%")[0]
        if mine in self._arrived or mine not in links.addresses or not is_neighbour(remote, links):
            return False
        if len(self._arrived) < _REMEMBERED:
            self._arrived[mine] = None
        return True

    def in_order(self, addresses: Iterable[str]) -> tuple[str, ...]:
        """Returns addresses in the order in which others should try them: IPv4 before IPv6, then those where others arrived."""
        return tuple(sorted(addresses, key=lambda a: (":" in a, a not in self._arrived, a != self._former)))


def is_neighbour(remote: str, links: Links) -> bool:
    """Whether a connection comes from another machine on one of these links."""
    theirs = plain(remote)
    return links.on_link(theirs) and theirs.partition("%")[0] not in links.addresses


def plain(address: str) -> str:
    """Returns an address of a socket of either family as a literal: not IPv4-mapped, and with a scope only if link-local."""
    bare = address.removeprefix("::ffff:") if "." in address else address
    return bare if bare.lower().startswith("fe80:") else bare.partition("%")[0]
