"""How far an answer of a datacenter is believed, and what it changes: the one way by which Consul's answers come in.

`snapshot` has read an answer, `guards` says how far it is believed, by what is expected of it: the Nodes that the store has of
that datacenter, and the registration of this machine.
"""

import asyncio
import logging

from k3.discovery import snapshot
from k3.discovery.agenda import Agenda
from k3.discovery.catalog import Reading
from k3.discovery.datacenters import FIRST_DOUBT_SECONDS, Datacenter, Directory
from k3.discovery.drawing import Drawing
from k3.discovery.guards import Belief, Heard, Own, Trust
from k3.discovery.nodes import StoredNodes
from k3.discovery.register import Registrar
from k3.discovery.snapshot import Snapshot
from k3.discovery.watch import Answer, Examined, Unanswered, Whole

log = logging.getLogger(__name__)


class Judge:
    """Takes in the answers. `registrar`: this machine's, whose registration its own datacenter's answers have to show."""

    def __init__(
        self,
        service: str,
        directory: Directory,
        nodes: StoredNodes,
        drawing: Drawing,
        agenda: Agenda,
        registrar: Registrar | None,
    ) -> None:
        self._service = service
        self._directory = directory
        self._nodes = nodes
        self._drawing = drawing
        self._agenda = agenda
        self._registrar = registrar

    def take(self, datacenter: Datacenter, answer: Answer) -> None:
        """Believes an answer as far as it goes, and has drawn what it changes."""
        match answer:
            case Unanswered(why):
                former = datacenter.guard.belief
                self._settle(datacenter, former, datacenter.guard.fail(why, asyncio.get_running_loop().time()))
            case Examined(instances):
                datacenter.snapshot = datacenter.snapshot.replaced(instances)
                self._drawing.redraw(instances)
            case Whole(reading, went_back):
                self._hear(datacenter, reading, went_back=went_back)

    def own_service_id(self, datacenter: Datacenter) -> str:
        """Returns the service ID that the answers of this datacenter have to show; empty: none."""
        is_own = self._registrar is not None and datacenter.name == self._directory.own
        return self._registrar.service_id if self._registrar is not None and is_own else ""

    def _hear(self, datacenter: Datacenter, reading: Reading[Snapshot], *, went_back: bool) -> None:
        found = reading.found
        datacenter.tell_of_refused(found, asyncio.get_running_loop().time())
        datacenter.tell_of_names(found)
        former = datacenter.guard.belief
        heard = self._heard(datacenter, found, reading, went_back=went_back)
        belief = datacenter.guard.hear(heard, asyncio.get_running_loop().time())
        if belief.trust is not Trust.NONE and found != datacenter.snapshot:
            datacenter.snapshot = found
            self._drawing.outdate()
        self._settle(datacenter, former, belief)

    def _heard(self, datacenter: Datacenter, found: Snapshot, reading: Reading[Snapshot], *, went_back: bool) -> Heard:
        """Returns the answer, as far as it matters to the guard."""
        name = datacenter.name
        # What is there and cannot be read is not missing.
        shown = {each.identity for each in found.instances} | found.unread
        names = {each.wanted_name for each in found.instances}
        # A silent agent may be removed by Consul at any time, with its registrations: that is no loss of the answer (ADR 17).
        known = [
            each for each in self._nodes.known.values() if each.datacenter == name and not (each.is_gone or each.is_silent)
        ]
        return Heard(
            shown=len(shown),
            known=len(known),
            missing=sum(each.identity not in shown and each.name not in names for each in known),
            own=self._own(datacenter, {service_id for _, _, service_id in shown}),
            has_leader=reading.has_leader,
            last_contact_seconds=reading.last_contact_seconds,
            is_filtered=reading.is_filtered or snapshot.TOO_MANY in found.refused or self._is_blind(name),
            unidentified=found.unidentified,
            went_back=went_back,
        )

    def _own(self, datacenter: Datacenter, ids: set[str]) -> Own:
        own = self.own_service_id(datacenter)
        if self._registrar is None or not own:
            return Own.NOT_EXPECTED
        if own in ids:
            return Own.SHOWN
        self._registrar.nudge()  # Consul's agent may have lost it
        return Own.UNREGISTERED if self._registrar.holds is False else Own.MISSING

    def _is_blind(self, name: str) -> bool:
        """Whether another datacenter's answer is doubtful because the one of the agent's own lacks what must be there.

        All are asked with one token, and only the agent's own has a registration that must be shown.
        """
        own = self._directory.places.get(self._directory.own)
        return own is not None and name != self._directory.own and own.guard.belief.trust is Trust.SHOWN

    def _settle(self, datacenter: Datacenter, former: Belief, belief: Belief) -> None:
        """Wakes the pass, and has it logged that an answer is not believed, or is again: once each time."""
        if belief != former:
            self._drawing.outdate()
        self._directory.tell(FIRST_DOUBT_SECONDS)
        if not datacenter.has_been_believed and not datacenter.is_told:
            self._agenda.wake_after(FIRST_DOUBT_SECONDS)
