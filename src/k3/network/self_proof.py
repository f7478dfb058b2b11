"""Proves that this machine answers where others would ask: only then does its Node say Ready, and what it says is its own.

Whatever the machine says of itself (`facts`), it has to answer at its announced addresses with it. The proof is repeated
whenever one of them has changed, and tried again until it succeeds.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from k3.agent.tasks import time_limit
from k3.core.observation import Facts
from k3.network.events import SelfProven
from k3.network.messages import Answered, Endpoint, Outcome, Target
from k3.network.probe import Ask, probe
from k3.network.whereabouts import Whereabouts

PROBE_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class SelfProof:
    """The proof of one run. Keep `run` going, and say by `again` when something has changed."""

    def __init__(
        self, where: Whereabouts, *, facts: Callable[[], Facts], tell: Callable[[SelfProven], None], ask: Ask = probe
    ) -> None:
        self._where = where
        self._facts = facts
        self._tell = tell
        self._ask = ask
        self._changed = asyncio.Event()

    def again(self) -> None:
        """What the machine says of itself, or where, has changed."""
        self._changed.set()

    async def run(self) -> None:
        """For ever. That it fails is told once, until it has succeeded."""
        is_told = False
        while True:
            self._changed.clear()
            if isinstance(outcome := await self._ask_self(), Answered):
                is_told = False
                self._tell(SelfProven(self._facts()))
                await self._changed.wait()
                continue
            if not is_told:
                is_told = True
                me = self._facts()
                fields = {"port": me.port, "addresses": me.addresses, "outcome": type(outcome).__name__}
                advice = "do --listen and the firewall let others in?"
                log.warning("self.unproven", extra={"fields": {**fields, "advice": advice}})
            with suppress(TimeoutError):
                async with time_limit(RETRY_SECONDS):
                    await self._changed.wait()

    async def _ask_self(self) -> Outcome:
        """Where no link has an address, at the loopback one."""
        me, links = self._facts(), self._where.links
        ends = tuple(Endpoint(links.scoped(address), me.port) for address in links.addresses or ("127.0.0.1",))
        return await self._ask(Target(me.node, (ends,), me.id), timeout_seconds=PROBE_SECONDS)
