"""The identity that this machine goes by for one run, and how it gets another one when a clone has the same.

Of two clones one changes (`clones` says which); the new part of its id is kept in the state directory, so that the machine
stays who it is (ADR 29). An agent changes at most once.

An id is announced to everybody, so that whoever answers with it may be a liar. A clone has something that no stranger has: the
machine id, which never leaves the machine. Every answer is sealed with it, and the seal covers the id, the run, the addresses
and the uptime: another machine's seal fits no address but that machine's, and an old one no uptime that runs (ADR 44).
"""

import hashlib
import hmac
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from k3.agent import facts
from k3.agent.facts import ID_DIGITS, Identity
from k3.core.errors import StartFailed
from k3.core.node import publishable
from k3.core.observation import Facts
from k3.network import naming
from k3.network.messages import Answered
from k3.network.naming import NameLost

log = logging.getLogger(__name__)


class OwnIdentity:
    """Known once `learn` has been called. `has_parted`: an earlier run of this agent has changed it already."""

    def __init__(self, *, has_parted: bool) -> None:
        self._has_parted = has_parted
        self._known = Identity("")
        self._state_dir = Path()
        self._secret = b""

    def learn(self, state_dir: Path, interfaces: Sequence[str]) -> None:
        """Find out who this machine is. Raises StartFailed."""
        self._state_dir = state_dir
        self._known = facts.identity(state_dir, interfaces)
        self._secret = facts.machine_id(state_dir).encode()

    @property
    def advice(self) -> str:
        """What a person does about clones."""
        return facts.new_identity_advice(self._state_dir)

    @property
    def identity(self) -> Identity:
        """Who this machine is at present."""
        return self._known

    def sign(self, said: Facts) -> Facts:
        """What this machine says, with its present identity."""
        return replace(said, id=self._known.id, clone_of=self._known.clone_of)

    def seal(self, said: Facts, uptime_seconds: float) -> str:
        """What this machine signs an answer with."""
        places = sorted(publishable(said.addresses))
        parts = ["k3 clone", said.id, said.clone_of, said.boot, str(said.port), f"{round(uptime_seconds, 3):.3f}", *places]
        return hmac.new(self._secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()[:ID_DIGITS]

    def is_sealed(self, answer: Answered) -> bool:
        """Whether this answer was signed with this machine's own machine id."""
        return hmac.compare_digest(answer.seal, self.seal(answer.facts, answer.uptime_seconds))

    def make_way(self, name: str, clone: str) -> str:
        """Change before any other machine knows this one in this run, since one that goes by `clone` runs already.

        Returns the former id, where what carries it under `name` is this machine's and not the clone's. Raises StartFailed.
        """
        try:
            former = self._change()
        except OSError as error:
            msg = f"cannot keep this machine's identity in {self._state_dir}: {error.strerror}; make it writable"
            raise StartFailed(msg) from error
        return former if clone != name else ""

    def part_ways(self, name: str, clone: str) -> NameLost | None:
        """Change while the agent runs under `name`: it has to start again. None: it has changed already, or cannot.

        Where the clone goes by the same name, that is left to it too.
        """
        if self._has_parted:
            return None
        try:
            former = self._change()
        except OSError as error:
            advice = f"make {self._state_dir} writable and restart k3"
            log.warning("identity.not_kept", extra={"fields": {"error": str(error), "advice": advice}})
            return None
        log.warning("identity.changed", extra={"fields": {"node": name, "former": former, "id": self._known.id}})
        second = naming.second_name(name, self._known.id) if clone == name else name
        return NameLost(second, held_at="by a clone", former=former)

    def _change(self) -> str:
        """Returns the former id. Raises OSError, and is not tried again then."""
        self._has_parted = True
        former = self._known.id
        self._known = facts.part_ways(self._state_dir, self._known)
        return former
