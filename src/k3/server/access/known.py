"""The tokens as a running server knows them: from a cache of the store, and word of each that no longer holds."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from k3.agent.cache import Cache, Listed
from k3.core.errors import Expired
from k3.core.objects import Object
from k3.core.store import Change
from k3.server.access import tokens
from k3.server.access.tokens import Token
from k3.server.status import Refused

LOOK_SECONDS: Final = 1.0
"""How often is looked for tokens whose time is over."""


class KnownTokens:
    """What `Authenticator` finds tokens in. `run` keeps `ended` told."""

    def __init__(self, cache: Cache, *, now: Callable[[], datetime], ended: Callable[[str], None]) -> None:
        """`cache` is one of the kind TOKEN, which its owner runs. `ended` is given the id of a token that no longer holds."""
        self._cache = cache
        self._now = now
        self._ended = ended
        self._read: dict[str, tuple[Object, Token | None]] = {}
        """What was read of each object, and which state of it."""
        self._live: dict[str, Token] = {}
        """The tokens that hold, as last told."""

    def find(self, id_: str) -> Token | None:
        """Returns a token by its id. Raises Refused (503) before the store has been read: none is known yet."""
        if self._cache.revision is None:
            msg = "the store has not been read yet: try again"
            raise Refused(503, msg, details={"retryAfterSeconds": 1})
        item = self._cache.get(tokens.key_of(id_)) if id_ else None
        if item is None:
            return None
        former = self._read.get(id_)
        if former is None or former[0] is not item:
            former = self._read[id_] = (item, tokens.read(item))
        return former[1]

    async def run(self) -> None:
        """Tells of each token that is revoked or over, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._look())

    async def _follow(self) -> None:
        while True:
            try:
                with self._cache.subscribe() as notices:
                    async for notice in notices:
                        if isinstance(notice, Listed | Change):
                            self._settle()
            except Expired:  # too many changes at once: look at them all, as the new subscription does
                await asyncio.sleep(0)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._cache.revision is not None:
                self._settle()

    def _settle(self) -> None:
        """Tells of the tokens that held at the last look and hold no longer, or are others now."""
        now = self._now()
        found = {key.name: token for key in self._cache.objects if (token := self.find(key.name)) and not token.is_over(now)}
        self._read = {id_: each for id_, each in self._read.items() if tokens.key_of(id_) in self._cache.objects}
        ended = [id_ for id_, token in self._live.items() if found.get(id_) != token]
        self._live = found
        for id_ in ended:
            self._ended(id_)
