"""The claim of this machine to its name: settled before the agent announces itself, kept or given up while it runs.

The rules are in `naming`; the claim asks, looks and waits for them. A holder lives if it answers at its recorded or announced
endpoint with its own id, or if the store goes on showing signs of its life: whoever answers at the same address here may be
another machine, and no answer at all proves nothing of a machine on another network (docs/adr/0030). It writes no Node, and
does not know the table of peers: what the table has to learn goes by `tell`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from k3.agent.tasks import gather, time_limit
from k3.core import limits, node
from k3.core.errors import NotFound, Unavailable
from k3.core.node import NodeView
from k3.core.objects import NODE, Key, Object
from k3.core.records import dataclass
from k3.core.store import Store
from k3.network import naming
from k3.network.events import NameKept
from k3.network.messages import Announcement, Answered, LocalFault, Target, Withdrawal
from k3.network.naming import WHO_KEEPS, Act, Claim, Holder, Moment, NameLost, Settled
from k3.network.probe import Ask, probe
from k3.network.refused_names import RefusedNames

LISTEN_SECONDS: Final = 0.3
PROBE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.25
"""Between two looks into the store for a sign of life."""
CONTEST_SECONDS: Final = 0.25
CONTEST_SECONDS_MAX: Final = 15.0
AGAIN_SECONDS: Final = 1.0
"""Between two questions to a machine that only claims the name; and after a contest, before the same one can begin another."""
HOLDERS: Final = 8
"""Asked at start, all at once: anyone can announce a name. No bound of what is kept, so it is not in `limits`."""

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
    """The name to claim. `is_chosen`: a person chose it, so that an agent that starts ends rather than go by another one."""

    name: str
    is_chosen: bool
    peer_ttl_seconds: float
    has_joined: bool = False
    """An earlier run of this agent was on its list: it does not end any more."""
    conflict_with: str = ""
    """The name it ran under until another live machine turned out to keep that."""
    former: str = ""
    """The id it ran under until a clone of this machine turned out to have it too: no other machine's."""


class NameClaim:
    """The claim for one run: `look_up`, then `settle`, and from then on `contest` when the store speaks of another machine."""

    def __init__(
        self,
        wanted: Wanted,
        store: Store,
        *,
        shown: Callable[[Key], Object | None],
        joined: Callable[[], bool],
        tell: Callable[[NameKept], None],
        ask: Ask = probe,
    ) -> None:
        """`shown` gives an object as the store last showed it; `joined`: whether the agent has been on its list already."""
        self._wanted = wanted
        self._store = store
        self._shown = shown
        self._joined = joined
        self._tell = tell
        self._ask = ask
        self._id = ""
        self._stored_id = ""
        self._recorded: Holder | None = None
        self._contested: set[str] = set()
        self._said: set[str] = set()
        self.refused = RefusedNames()
        """Names under which an earlier start was refused."""
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
        self._stored_id = naming.holder_of(stored)
        return stored

    async def settle(self, heard: Iterable[Announcement], own_id: str, *, former: str = "") -> Settled:
        """Which name to go by, now that the others were heard. Raises NameTaken where a chosen one has a live holder.

        `own_id` and `former` are other ones than before where this machine has just changed its identity.
        """
        self._id = own_id
        wanted = self._wanted.name
        is_own = bool(self._stored_id) and self._stored_id in {own_id, former, self._wanted.former}
        settled = Settled(wanted)
        if not is_own:  # else no claim counts against the store's word
            settled = await self._settle(naming.announced_holders(heard, wanted, own_id)[:HOLDERS])
        self.settled = replace(
            settled,
            displaces=settled.displaces or former or self._wanted.former,
            conflict_with=self._wanted.conflict_with or settled.conflict_with,
        )
        if self.settled.name != wanted:
            fields = {"wanted": wanted, "using": self.settled.name, "held": self.settled.held_at, "advice": naming.ADVICE}
            log.warning("name.taken", extra={"fields": fields})
        return self.settled

    async def _settle(self, announced: list[Holder]) -> Settled:
        recorded = self._recorded
        found: Settled | None = None
        if recorded is not None and (where := await self._answers_at(recorded)):
            found = self._given_way(recorded, where)
        if found is None:
            places = await gather(*(partial(self._answers_at, each) for each in announced))
            answering = [(each, where) for each, where in zip(announced, places, strict=True) if where]
            found = self._given_way(*answering[0]) if answering else None
        if found is None and recorded is not None and (where := await self._lives_elsewhere(recorded)):
            found = self._given_way(recorded, where)
        return found or Settled(self._wanted.name, recorded.id if recorded is not None else "")

    def _given_way(self, holder: Holder, where: str) -> Settled | None:
        """The name to go by where this holder lives; None: the wanted one all the same. Raises NameTaken."""
        name = self._wanted.name
        act = self._act(Moment.JOINED if self._wanted.has_joined else Moment.START, holder.claim)
        if act is Act.END_ONCE and self.refused.has(name):
            act = Act.KEEP
        match act:
            case Act.KEEP:
                self._say_contested(holder.id, where)
                return None
            case Act.SECOND:
                return Settled(naming.second_name(name, self._id), conflict_with=name, held_at=where)
            case Act.END_ONCE:
                self.refused.note(name)
        raise naming.taken(name, holder.id, where, is_final=act is Act.END)

    def _act(self, moment: Moment, claim: Claim) -> Act:
        acts = WHO_KEEPS[moment][claim]
        return acts.chosen if self._wanted.is_chosen else acts.host

    def _say_contested(self, id_: str, where: str) -> None:
        """Once for each other machine; their number is bounded, since anyone can claim a name."""
        if id_ not in self._said and len(self._said) < limits.PEER_ADDRESSES:
            self._said.add(id_)
            fields = {"node": self._wanted.name, "other": where, "advice": naming.ADVICE}
            log.warning("name.contested", extra={"fields": fields})

    async def _answers_at(self, holder: Holder) -> str:
        """Where the holder answers; empty: it does not. Of one that only claims the name, a canned answer is none."""
        first = await self._answer_of(holder)
        if first is None or holder.claim is Claim.HOLDS:
            return _where(first) if first else ""
        await asyncio.sleep(AGAIN_SECONDS)
        second = await self._answer_of(holder)
        return _where(second) if second and naming.is_the_same_run(first, second, apart_seconds=AGAIN_SECONDS) else ""

    async def _answer_of(self, holder: Holder) -> Answered | None:
        if holder.target is None:
            return None
        outcome = await self._ask(holder.target, timeout_seconds=PROBE_SECONDS)
        return outcome if isinstance(outcome, Answered) else None

    async def _lives_elsewhere(self, holder: Holder) -> str:
        """Where a holder lives that does not answer here; empty: it does not. This takes a while, so it comes last."""
        if holder.shown is None or not holder.is_said_to_live or not await self._goes_on(holder.shown):
            return ""
        addresses = holder.shown.addresses
        return f"on another network ({addresses[0]})" if addresses else "on another network"

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
        """The store's Node of the name, or an announcement without an id, may stand for another machine.

        Waits until it is clear whose the name is. Raises NameTaken, NameLost. Contests are told apart by the other's id, and
        their number is bounded: anyone can announce a name.
        """
        if target.id in self._contested or len(self._contested) >= limits.PEER_ADDRESSES:
            return
        self._contested.add(target.id)
        if await self._has_let_go(target):
            self._tell(NameKept(target.id))
            await asyncio.sleep(AGAIN_SECONDS)
        self._contested.discard(target.id)

    async def _has_let_go(self, target: Target) -> bool:
        """Waits until the Node that stands for the other machine may be taken back. False: there is no such Node."""
        clock = asyncio.get_running_loop().time
        pause_seconds = CONTEST_SECONDS
        life, changed_at = self._sign_of_life(target), clock()
        while True:
            outcome = await self._ask(target, timeout_seconds=PROBE_SECONDS)
            answers = isinstance(outcome, Answered) and outcome.facts.id != self._id
            seen = self._own_node()
            if isinstance(outcome, Answered) and answers:
                self._stand_or_give_way(target.id, seen, _where(outcome))
            if not target.id or seen is None or seen.id != target.id:
                return False
            if answers or naming.claim_of(seen, target.id) is not Claim.HOLDS:
                return True
            if life != (life := self._sign_of_life(target)):
                changed_at = clock()
                if life:  # a machine that only cannot be reached from here goes on writing to the store
                    self._stand_or_give_way(target.id, seen, "on another network")
            is_over = not isinstance(outcome, LocalFault) or not any(target.groups)
            if is_over and (not life or clock() - changed_at >= self._wanted.peer_ttl_seconds):
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

    def _stand_or_give_way(self, id_: str, seen: NodeView | None, where: str) -> None:
        """The other machine lives. Raises NameTaken, NameLost where the store says that the name is its own."""
        name = self.settled.name
        act = self._act(Moment.JOINED if self._joined() else Moment.ANNOUNCED, naming.claim_of(seen, id_))
        if act is Act.SECOND:
            raise NameLost(naming.second_name(name, self._id), held_at=where)
        if act is not Act.KEEP:
            raise naming.taken(name, id_, where, is_final=True)
        self._say_contested(id_, where)


def _where(answer: Answered) -> str:
    return f"at {answer.endpoint.address} port {answer.endpoint.port}"
