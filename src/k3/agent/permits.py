"""Which Nodes the store does not let this agent write: it leaves them alone for a while, and goes on with all others.

A token may be bound to one machine, whose agent sees all others and gives verdicts about them as long as it runs. Each of
these writes would be refused again, at every round; so for a minute none is sent. After that one is, since rights change.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from k3.core import limits
from k3.core.errors import NotPermitted

PAUSE_SECONDS: Final = 60.0
ADVICE: Final = "an agent that is to judge other machines needs a token of role agent that is bound to none"

log = logging.getLogger(__name__)


class Permits:
    """The refusals of the last minute."""

    def __init__(self) -> None:
        self._refused: OrderedDict[str, tuple[float, NotPermitted]] = OrderedDict()
        """Until when each Node is left alone, by the event loop's clock; the oldest first."""

    @contextmanager
    def asked(self, name: str) -> Iterator[None]:
        """Has the store asked to write a Node. Raises NotPermitted at once where it refused that not long ago."""
        until, refusal = self._refused.get(name, (0.0, None))
        if refusal is not None and asyncio.get_running_loop().time() < until:
            raise NotPermitted(str(refusal))
        try:
            yield
        except NotPermitted as refused:
            self._note(name, refused)
            raise
        self._refused.pop(name, None)

    def _note(self, name: str, refusal: NotPermitted) -> None:
        self._refused.pop(name, None)
        if len(self._refused) >= limits.QUEUE:
            self._refused.popitem(last=False)
        self._refused[name] = asyncio.get_running_loop().time() + PAUSE_SECONDS, refusal
        fields = {"node": name, "why": str(refusal), "advice": ADVICE}
        log.warning("node.not_permitted", extra={"fields": fields})
