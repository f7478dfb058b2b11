"""Lists several machines of one name: whoever was listed first keeps it, every other one goes by its second name (`naming`).

It stands between the network and the table of peers, which knows names only. Announcements of a machine whose name another
one has are handed on under the second name; a probe of a second name is asked under the name that the machine itself says.

While it is not known whether the first one lives, an announcement is handed on as it is: a dead machine gives its name up, to
a reinstalled one for example. As soon as the first one answers, or the store shows it alive, the other is listed beside it
(docs/adr/0044).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Protocol

from k3.core import limits
from k3.core.node import NodeView
from k3.core.records import dataclass
from k3.network import naming
from k3.network.messages import Announcement, Answered, Impostor, Outcome, Target, Withdrawal

CLAIMS_PER_NAME: Final = 8

log = logging.getLogger(__name__)


class Asks(Protocol):
    """Asks one peer."""

    async def ask(self, target: Target, *, timeout_seconds: float) -> Outcome:
        """How it went."""
        ...


@dataclass(frozen=True, slots=True)
class _Claim:
    """A machine that announces a name which another one has, and what the store showed of that one then."""

    heard: Announcement
    last_seen: str


class Namesakes:
    """What one agent knows of machines that share a name. Everything is bounded, since anyone can announce a name."""

    def __init__(
        self,
        *,
        shown: Callable[[str], NodeView | None],
        own: Callable[[], tuple[str, str]],
        registers: bool,
        prober: Asks,
        hand: Callable[[Announcement | Withdrawal], object],
    ) -> None:
        """`shown` gives a Node as the store last showed it; `own`: the name and id of this machine.

        `registers`: whether its own Node will show whose the name is. `hand` hands announcements on.
        """
        self._shown = shown
        self._own = own
        self._registers = registers
        self._prober = prober
        self._hand = hand
        self._claims: OrderedDict[str, _Claim] = OrderedDict()
        """By instance, the oldest first: whether the one who has the name lives is not known yet."""
        self._second: OrderedDict[str, str] = OrderedDict()
        """Under which second name an instance was handed on."""
        self._said: OrderedDict[str, str] = OrderedDict()
        """What a machine calls itself that is listed under a second name."""
        self._told: set[str] = set()

    # What is announced

    def hear(self, heard: Announcement | Withdrawal) -> None:
        """Hands it on, under the name that the machine is listed by."""
        self._claims.pop(heard.instance, None)
        if isinstance(heard, Withdrawal):
            self._second.pop(heard.instance, None)
            self._hand(heard)
        elif (listed := self._listed(heard)) != heard.node:
            self._hand_second(heard, listed)
        elif self._waits(heard):
            self._claim(heard)
        else:
            self._hand_plain(heard)

    def _holder(self, name: str) -> str:
        own_name, own_id = self._own()
        return naming.holder_of(self._shown(name)) or (own_id if name == own_name and not self._registers else "")

    def _listed(self, heard: Announcement) -> str:
        """The name to list it by, as far as is known without asking anybody."""
        own_name, own_id = self._own()
        holder = self._holder(heard.node)
        listed = naming.listed_as(heard.node, heard.id, holder=self._holder)
        is_sure = (heard.node == own_name and holder == own_id) or self._holder(listed) == heard.id
        return listed if is_sure else heard.node

    def _waits(self, heard: Announcement) -> bool:
        """Whether another machine may have its name."""
        own_name, own_id = self._own()
        holder = own_id if heard.node == own_name else self._holder(heard.node)
        return bool(heard.id) and holder not in {"", heard.id}

    def _claim(self, heard: Announcement) -> None:
        """The first one is asked before anything is concluded. Whether it is this machine itself, its own Node will show."""
        claimed = [instance for instance, each in self._claims.items() if each.heard.node == heard.node]
        if len(claimed) >= CLAIMS_PER_NAME:
            del self._claims[claimed[0]]
        seen = self._shown(heard.node)
        self._claims[heard.instance] = _Claim(heard, seen.last_seen if seen else "")
        _bound(self._claims)
        if heard.node != self._own()[0]:
            self._hand_plain(heard)

    def _hand_plain(self, heard: Announcement) -> None:
        if self._second.pop(heard.instance, "") not in {"", heard.node}:
            self._hand(Withdrawal(heard.instance))
        self._hand(heard)

    def _hand_second(self, heard: Announcement, listed: str) -> None:
        if self._second.get(heard.instance) != listed:
            self._hand(Withdrawal(heard.instance))  # it claims the name no longer
        for known, key, value in ((self._second, heard.instance, listed), (self._said, listed, heard.node)):
            known[key] = value
            known.move_to_end(key)
            _bound(known)
        self._hand(replace(heard, node=listed))

    # What shows that the first one lives

    def show(self, seen: NodeView) -> None:
        """The store shows this Node now."""
        if self._claims:
            self._settle(each for each in self._claims_on(seen.name) if self._is_alive(seen, self._claims[each]))
            self._settle(
                instance
                for instance, each in list(self._claims.items())
                if seen.id == each.heard.id and naming.is_second_name(seen.name, each.heard.node, seen.id)
            )

    def _claims_on(self, name: str) -> list[str]:
        return [instance for instance, each in self._claims.items() if each.heard.node == name]

    def _is_alive(self, seen: NodeView, claim: _Claim) -> bool:
        if (seen.name, seen.id) == self._own():
            return True
        is_fresh = bool(claim.last_seen) and seen.last_seen != claim.last_seen
        return is_fresh and seen.is_ready and seen.is_reachable

    def _settle(self, instances: Iterable[str]) -> None:
        """Whoever has the name of these lives: they are listed beside it. The very machine that has it may lose it yet."""
        for instance in list(instances):
            heard = self._claims[instance].heard
            listed = naming.listed_as(heard.node, heard.id, holder=self._holder)
            if listed != heard.node:
                del self._claims[instance]
                self._hand_second(heard, listed)

    # Who answers

    async def ask(self, target: Target, *, timeout_seconds: float) -> Outcome:
        """Asks as the prober does, a machine that is listed under a second name by the name that it says."""
        claims = self._claims_on(target.name)
        said = self._said.get(target.name, target.name)
        name = said if self._may_say(target, said) else target.name
        outcome = await self._prober.ask(replace(target, name=name), timeout_seconds=timeout_seconds)
        if isinstance(outcome, Impostor) and outcome.node != name and self._may_say(target, outcome.node, id_=outcome.id):
            name = outcome.node
            outcome = await self._prober.ask(replace(target, name=name, id=outcome.id), timeout_seconds=timeout_seconds)
        if isinstance(outcome, Answered):
            if name == target.name:
                self._said.pop(name, None)
            else:
                self._tell(target.name, outcome)
            if outcome.facts.id and outcome.facts.id == self._holder(target.name):
                self._settle(each for each in claims if each in self._claims)
        return outcome

    def _may_say(self, target: Target, said: str, *, id_: str = "") -> bool:
        """Whether the machine that is listed as this target may call itself so: another one must be listed under that name.

        `id_`: the id it answers under; a candidate's is not known before.
        """
        id_ = id_ or target.id
        if not id_ or target.id not in {"", id_}:
            return False
        if said == target.name:
            return True
        holder = self._own()[1] if said == self._own()[0] else self._holder(said)
        return naming.is_second_name(target.name, said, id_) and holder not in {"", id_}

    def _tell(self, listed: str, answer: Answered) -> None:
        """A second machine of a name has proven itself: said once."""
        self._said[listed] = answer.facts.node
        _bound(self._said)
        if listed not in self._told and len(self._told) < limits.NAMESAKES:
            self._told.add(listed)
            other = f"at {answer.endpoint.address} port {answer.endpoint.port}"
            fields = {"node": answer.facts.node, "other": other, "listed": listed, "advice": naming.ADVICE}
            log.warning("name.contested", extra={"fields": fields})


def _bound(known: OrderedDict[str, object] | OrderedDict[str, str] | OrderedDict[str, _Claim]) -> None:
    while len(known) > limits.NAMESAKES:
        known.popitem(last=False)
