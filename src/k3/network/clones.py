"""Finds other machines with this machine's identity: a copied disk or a resumed snapshot has the same machine id and MAC.

Theory of operation. What carries its id, at an address that this machine has never had in this run, is looked at: asked
twice, a second apart, it must answer with that id, from a place that is not this machine by another road (a router's
loop, a second process here). Everybody knows the id, so its answer must also be sealed with the machine id that only a clone
has, and its uptime must have run (`own_identity`): a stranger changes nothing. Where it cannot be asked, the store tells: only
a machine itself writes its run into the Node's `agent`, so that another run there, after this one, is another machine's.

Two clones find each other by the same facts, and agree without talking which of them gets a new part in its id
(`keeps`): the other one waits, and changes too only if nothing has come of it. How one changes, at most once, is in
`own_identity`. A machine that is set apart says whose clone it is, so that both owners hear of it at every start.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Final

from k3.core import limits
from k3.core.node import NodeView, publishable
from k3.core.observation import Facts
from k3.network import naming
from k3.network.messages import Announcement, Answered, Endpoint, Outcome, Target
from k3.network.probe import Ask, probe

ASK_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 1.0
"""Between the two questions: an address that is just moving belongs to somebody else for a moment."""
PATIENCE_SECONDS: Final = 8.0
"""How long the clone that keeps the id waits for the other one to change."""

log = logging.getLogger(__name__)


class Clones:
    """What one agent knows of machines with its own identity."""

    def __init__(
        self,
        *,
        tell: Callable[[str], None],
        part: Callable[[str], None],
        start: Callable[[Coroutine[None, None, None]], None],
        is_sealed: Callable[[Answered], bool],
        ask: Ask = probe,
    ) -> None:
        """Nothing is asked yet.

        `tell` is given the address of a clone, or nothing when there is none any more; `part` the name of one that has this
        machine's id, when this machine is the one to change. `start` runs a task; `is_sealed` says whether only this
        machine or a clone of it can have given an answer.
        """
        self.advice = ""
        """What a person does about clones."""
        self._say = tell
        self._part = part
        self._start = start
        self._is_sealed = is_sealed
        self._probe = ask
        self._me = Facts(node="")
        self._own_addresses: set[str] = set()
        self._looking: set[tuple[str, str]] = set()
        self._rewritten: dict[str, int] = {}
        """How often the store showed a Node that another machine with this id had written, by name."""
        self.found: dict[str, str] = {}
        """The clones told of: address by id."""

    def say(self, me: Facts) -> None:
        """What this machine says of itself from now on."""
        self._me = me
        self._own_addresses.update(address.partition("%")[0] for address in me.addresses)

    @property
    def _shared_id(self) -> str:
        return self._me.clone_of or self._me.id

    async def already_running(self, heard: Iterable[Announcement]) -> Answered | None:
        """Who else runs with this machine's id, of those who announce it. The owner is told."""
        targets = [target for each in heard if (target := self._elsewhere(each)) is not None]
        for target in targets[: limits.PEER_ADDRESSES]:
            if (answer := await self._asked_twice(target)) is not None:
                self.tell_of(answer)
                return answer
        return None

    def _elsewhere(self, heard: Announcement) -> Target | None:
        """Where to ask whoever announces this machine's id, if that is at an address which is not this machine's."""
        ends = tuple(
            Endpoint(each, heard.port) for each in heard.addresses if each.partition("%")[0] not in self._own_addresses
        )
        return Target(heard.node, (ends,), heard.id) if ends and heard.id == self._me.id else None

    async def _ask(self, target: Target) -> Answered | None:
        """Whether another machine answers there with that id, and can be no stranger."""
        answer = await self._probe(target, timeout_seconds=ASK_SECONDS)
        return answer if isinstance(answer, Answered) and not self._is_here(answer) and self._is_sealed(answer) else None

    def _is_here(self, answer: Answered) -> bool:
        """Whether this machine answered: at its own address, or saying nothing but its own addresses, by whatever road."""
        said = set(answer.facts.addresses)
        if answer.endpoint.address.partition("%")[0] in self._own_addresses or (said and said <= self._own_addresses):
            return True
        return not said and answer.facts.boot == self._me.boot

    # What may show a clone

    def heard(self, heard: Announcement) -> None:
        """A machine announces itself."""
        if (target := self._elsewhere(heard)) is not None:
            self._look_at(target)

    def answered(self, outcome: Outcome) -> None:
        """A peer was asked."""
        if isinstance(outcome, Answered) and not self._is_here(outcome):
            if outcome.facts.id == self._me.id:
                self._look_at(Target(outcome.facts.node, ((outcome.endpoint,),), outcome.facts.id))
            elif self._shared_id in {outcome.facts.id, outcome.facts.clone_of} and self._is_sealed(outcome):
                self.tell_of(outcome)

    def shown(self, seen: NodeView, former: NodeView | None, *, joined: bool, on_link: tuple[str, ...]) -> None:
        """The store shows a Node now, and showed it so before. `joined`: it has shown this run's own."""
        if not seen.id or not seen.is_ready or set(seen.addresses) <= self._own_addresses:
            return
        self._notice_cure(seen)
        if seen.id == self._me.id:
            if joined and self._is_written_there(seen, former):
                self._rewritten[seen.name] = self._rewritten.get(seen.name, 0) + 1
                ends = tuple(Endpoint(each, seen.port) for each in on_link) if seen.port else ()
                self._look_at(Target(seen.name, (ends,), seen.id), seen)
        elif self._shared_id in {seen.id, seen.annotations.get("k3.network/clone-of", "")} and seen.agent:
            self._tell(seen.name, seen.id, seen.addresses)

    def _is_written_there(self, seen: NodeView, former: NodeView | None) -> bool:
        """Whether another run wrote this Node while this one went on; or a copy of this very run, with other addresses."""
        if seen.name == self._me.node:
            is_copy = seen.boot == self._me.boot and seen.seen_by == seen.name  # else an observer believed somebody's answer
            return bool(seen.agent) and (seen.agent != self._me.boot or is_copy)
        if former is None or not seen.agent or seen.seen_by != seen.name:
            return False
        return (former.agent, former.last_seen) != (seen.agent, seen.last_seen)

    def _notice_cure(self, seen: NodeView) -> None:
        """A machine that was a clone has an identity of its own now."""
        related = self._shared_id in {seen.id, seen.annotations.get("k3.network/clone-of", "")}
        if not related and (cured := [id_ for id_, where in self.found.items() if where in seen.addresses]):
            for id_ in cured:
                del self.found[id_]
            self._say(next(iter(self.found.values()), ""))

    # What comes of it

    def tell_of(self, answer: Answered) -> None:
        """A clone has answered."""
        self._tell(answer.facts.node, answer.facts.id, (answer.endpoint.address, *answer.facts.addresses))

    def _tell(self, name: str, id_: str, addresses: tuple[str, ...]) -> None:
        """Tell the owner, once for each clone until it moves. Of its addresses, the first that this machine does not have."""
        address = next((each for each in addresses if each.partition("%")[0] not in self._own_addresses), addresses[0])
        if self.found.get(id_) in addresses or len(self.found) >= limits.PEER_ADDRESSES:
            return
        self.found[id_] = address
        what = "same machine-id and MAC: one is a clone of the other"
        fields = {"other": name, "address": address, "why": what, "advice": f"on one of them run: {self.advice}"}
        log.warning("identity.cloned", extra={"fields": fields})
        self._say(address)

    def _look_at(self, target: Target, seen: NodeView | None = None) -> None:
        key = (target.name, repr(target.groups))
        if key not in self._looking and len(self._looking) < limits.PEER_ADDRESSES:
            self._looking.add(key)
            self._start(self._look(target, seen, key))

    async def _look(self, target: Target, seen: NodeView | None, key: tuple[str, str]) -> None:
        try:
            if (answer := await self._asked_twice(target)) is not None:
                self.tell_of(answer)
                if not self.keeps(answer.facts.boot, answer.facts.addresses) or await self._stays(target):
                    self._part(target.name)
            elif seen is not None:
                await self._look_into_store(seen)
        finally:
            self._looking.discard(key)

    async def _asked_twice(self, target: Target) -> Answered | None:
        first = await self._ask(target)
        if first is None or first.facts.id != self._me.id:
            return None
        await asyncio.sleep(AGAIN_SECONDS)
        second = await self._ask(target)
        if second is None or second.facts.id != self._me.id:
            return None
        return second if naming.is_the_same_run(first, second, apart_seconds=AGAIN_SECONDS) else None

    async def _stays(self, target: Target) -> bool:
        """Whether the other one goes on with this id although it is the one to change."""
        await asyncio.sleep(PATIENCE_SECONDS)
        return await self._ask(target) is not None

    async def _look_into_store(self, seen: NodeView) -> None:
        """It cannot be asked from here: it writes to the store, again and again where both write the same Node."""
        before = self._rewritten[seen.name]
        await asyncio.sleep(2 * AGAIN_SECONDS)
        if seen.name == self._me.node and self._rewritten[seen.name] == before:
            return
        self._tell(seen.name, seen.id, seen.addresses)
        if self.keeps(seen.agent, seen.addresses):
            before = self._rewritten[seen.name]
            await asyncio.sleep(PATIENCE_SECONDS)
            if self._rewritten[seen.name] == before:
                return
        self._part(seen.name)

    def keeps(self, their_boot: str, their_addresses: tuple[str, ...]) -> bool:
        """Whether this machine, of two clones that both run, keeps the id: both answer alike, from what both know."""
        own = (self._me.boot, sorted(publishable(self._me.addresses)))
        return own < (their_boot, sorted(publishable(their_addresses)))
