"""The claim of this machine to its name: settled before the agent announces itself, kept or given up while it runs.

A holder of the name is live if its recorded or announced endpoint answers now with its own id, or if the store goes on showing
signs of its life: whoever answers at the same address here may be another machine, and no answer at all proves nothing of a
machine on another network. A live holder keeps the name, a dead one gives it up, and no machine silently replaces another.

The rules are in `naming`; the claim asks, looks and waits for them. It writes nothing, and does not know the table of peers:
what the table has to learn goes by `tell`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from k3.agent.tasks import time_limit
from k3.core import limits, node
from k3.core.errors import NotFound, Unavailable
from k3.core.node import NodeView
from k3.core.objects import NODE, Key, Object
from k3.core.store import Store
from k3.network import naming
from k3.network.events import NameKept
from k3.network.messages import Announcement, Answered, LocalFault, Target, Withdrawal
from k3.network.naming import Holder, NameLost, Settled
from k3.network.probe import Ask, probe

LISTEN_SECONDS: Final = 0.3
PROBE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.25
"""Between two looks into the store for a sign of life."""
CONTEST_SECONDS: Final = 0.25
CONTEST_SECONDS_MAX: Final = 15.0
AGAIN_SECONDS: Final = 1.0
"""After a contest is over, before the same machine can begin another one."""
HOLDERS: Final = 8
"""Asked at start, one after the other: anyone can announce a name. No bound of what is kept, so it is not in `limits`."""

log = logging.getLogger(__name__)


async def listen(hear: Callable[[], Awaitable[Announcement | Withdrawal]]) -> list[Announcement | Withdrawal]:
    """What others say in the moment before the agent says anything."""
    heard: list[Announcement | Withdrawal] = []
    with suppress(TimeoutError):
        async with time_limit(LISTEN_SECONDS):
            while True:
                heard.append(await hear())
    return heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The name to claim. `is_explicit`: a person chose it, so that the agent ends rather than go by another one."""

    name: str
    is_explicit: bool
    peer_ttl_seconds: float
    conflict_with: str = ""
    """The name it ran under until another live machine turned out to keep that."""
    former: str = ""
    """The id it ran under until a clone of this machine turned out to have it too: no other machine's."""


class NameClaim:
    """The claim for one run: `look_up`, then `settle`, and from then on `contest` whenever another machine uses the name."""

    def __init__(
        self,
        wanted: Wanted,
        store: Store,
        *,
        shown: Callable[[Key], Object | None],
        uptime: Callable[[], float],
        tell: Callable[[NameKept], None],
        ask: Ask = probe,
    ) -> None:
        """`shown` gives an object as the store last showed it, `uptime` the seconds of this run."""
        self._wanted = wanted
        self._store = store
        self._shown = shown
        self._uptime = uptime
        self._tell = tell
        self._ask = ask
        self._id = ""
        self._recorded: Holder | None = None
        self._contested: set[str] = set()
        self.settled = Settled(wanted.name)
        """The name, and how this machine came to it."""

    # Before the agent announces itself

    async def look_up(self, own_id: str, on_link: Callable[[str], bool]) -> NodeView | None:
        """The store's Node of the wanted name. `on_link`: whether an address can be reached from here directly."""
        stored = await self._stored(self._wanted.name)
        reachable = [address for address in stored.addresses if on_link(address)] if stored else []
        recorded = naming.recorded_holder(stored, own_id, reachable)
        if recorded is not None and recorded.id != self._wanted.former:
            self._recorded = recorded
        return stored

    async def settle(self, heard: Iterable[Announcement], own_id: str, *, former: str = "") -> Settled:
        """Which name to go by, now that the others were heard. Raises NameTaken where an explicit one has a live holder.

        `own_id` and `former` are other ones than before where this machine has just changed its identity.
        """
        self._id = own_id
        wanted = self._wanted.name
        holders = [self._recorded] if self._recorded is not None else []
        holders += naming.announced_holders(heard, wanted, own_id)
        settled = await self._settle(holders[:HOLDERS])
        self.settled = replace(
            settled,
            displaces=settled.displaces or former or self._wanted.former,
            conflict_with=self._wanted.conflict_with or settled.conflict_with,
        )
        if self.settled.name != wanted:
            fields = {"wanted": wanted, "using": self.settled.name, "held": self.settled.held_at, "advice": naming.ADVICE}
            log.warning("name.taken", extra={"fields": fields})
        return self.settled

    async def _settle(self, holders: list[Holder]) -> Settled:
        displaces = ""
        silent: list[NodeView] = []
        for holder in holders:
            if where := await self._answers_at(holder):
                return self._held(holder.id, where)
            displaces = holder.id
            if holder.is_said_to_live and holder.shown is not None:
                silent.append(holder.shown)
        for seen in silent:  # last, since it takes a while
            if await self._goes_on(seen):
                place = f" ({seen.addresses[0]})" if seen.addresses else ""
                return self._held(seen.id, f"on another network{place}")
        return Settled(self._wanted.name, displaces)

    def _held(self, holder: str, where: str) -> Settled:
        name = self._wanted.name
        if self._wanted.is_explicit:
            raise naming.taken(name, holder, where)
        return Settled(naming.second_name(name, self._id), conflict_with=name, held_at=where)

    async def _answers_at(self, holder: Holder) -> str:
        """Where the holder answers; empty: it does not."""
        if holder.target is None:
            return ""
        outcome = await self._ask(holder.target, timeout_seconds=PROBE_SECONDS)
        return _where(outcome) if isinstance(outcome, Answered) else ""

    async def _goes_on(self, holder: NodeView) -> bool:
        """Whether a machine that could not be asked lives: its Node is refreshed, or shows another run of its agent."""
        patience = naming.patience_seconds(holder, self._wanted.peer_ttl_seconds)
        fields = {
            "wanted": holder.name,
            "held": holder.addresses,
            "why": "its holder does not answer here",
            "seconds": patience,
        }
        log.warning("name.waiting", extra={"fields": fields})
        with suppress(TimeoutError):
            async with time_limit(patience):
                while True:
                    await asyncio.sleep(LOOK_SECONDS)
                    seen = await self._stored(holder.name)
                    if seen is None or seen.id != holder.id or not (seen.is_ready and seen.is_reachable):
                        return False
                    if (seen.last_seen, seen.agent) != (holder.last_seen, holder.agent):
                        return True
        return False

    async def _stored(self, name: str) -> NodeView | None:
        with suppress(NotFound, Unavailable):
            return node.view(await self._store.get(Key(NODE, name)))
        return None

    # While the agent runs

    async def contest(self, target: Target) -> None:
        """Another machine uses the name: ask it until one of the two has let go. Raises NameTaken, NameLost.

        Contests are told apart by the other's id, and their number is bounded: anyone can announce a name.
        """
        if target.id in self._contested or len(self._contested) >= limits.PEER_ADDRESSES:
            return
        self._contested.add(target.id)
        if await self._has_let_go(target):
            self._tell(NameKept(target.id))
            await asyncio.sleep(AGAIN_SECONDS)
        self._contested.discard(target.id)

    async def _has_let_go(self, target: Target) -> bool:
        """Waits until the other machine has. False: there is none, a forged announcement leads to this machine itself."""
        clock = asyncio.get_running_loop().time
        pause_seconds = CONTEST_SECONDS
        life, changed_at = self._sign_of_life(target), clock()
        while True:
            outcome = await self._ask(target, timeout_seconds=PROBE_SECONDS)
            if isinstance(outcome, Answered) and outcome.facts.id == self._id:
                return False
            if isinstance(outcome, Answered):
                self._stand_or_give_way(outcome, is_news=pause_seconds == CONTEST_SECONDS)
            elif not isinstance(outcome, LocalFault) or not any(target.groups):
                # A namesake that only cannot be reached from here goes on writing to the store.
                if life != (life := self._sign_of_life(target)):
                    changed_at = clock()
                if not life or clock() - changed_at >= self._wanted.peer_ttl_seconds:
                    return True
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, CONTEST_SECONDS_MAX)

    def _own_node(self) -> NodeView | None:
        item = self._shown(Key(NODE, self.settled.name))
        return node.view(item) if item is not None else None

    def _sign_of_life(self, target: Target) -> str:
        """What the store last showed of another machine under this name; empty: nothing, or that it is not Ready."""
        seen = self._own_node()
        return f"{seen.agent} {seen.last_seen}" if seen and seen.id == target.id and seen.is_ready and seen.agent else ""

    def _stand_or_give_way(self, other: Answered, *, is_news: bool) -> None:
        name, where = self.settled.name, _where(other)
        if not self._gives_way(other):
            if is_news:
                fields = {"node": name, "other": other.endpoint.address, "advice": naming.ADVICE}
                log.warning("name.contested", extra={"fields": fields})
        elif self._wanted.is_explicit:
            raise naming.taken(name, other.facts.id, where)
        else:
            raise NameLost(naming.second_name(name, self._id), held_at=where)

    def _gives_way(self, other: Answered) -> bool:
        """On one store the Node says who keeps the name, and until there is one it is open; else whoever is up for longer."""
        if other.store_id and other.store_id == self._store.id:
            seen = self._own_node()
            if seen is None:
                return False
            if seen.id:
                return seen.id == other.facts.id
        return naming.gives_way((self._uptime(), self._id), (other.uptime_seconds, other.facts.id))


def _where(answer: Answered) -> str:
    return f"at {answer.endpoint.address} port {answer.endpoint.port}"
