"""One watch of one kind: it resumes by itself after a short cut, and does not trust silence.

The cursor is the revision of the last change handed on, or of a bookmark. After a cut the stream is opened again behind the
cursor; where that is no longer kept, the watch ends with Expired, and where nobody answers for
`limits.STORE_TIMEOUT_SECONDS`, with Unavailable. A server that has said nothing for a while is asked something: a machine that
was switched off hangs up on nobody. A change at the cursor is the last one, once more; one from before it means
that the stream is not in order, and the reader lists again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from k3.agent.backoff import Backoff
from k3.agent.http import LongAnswer
from k3.agent.tasks import gather, time_limit
from k3.core import limits
from k3.core.errors import Expired, K3Error, Unavailable
from k3.core.objects import Kind
from k3.core.store import Bookmark, Change
from k3.stores.kubernetes import asking, troubles
from k3.stores.kubernetes.client import Client
from k3.stores.kubernetes.documents import Odd, Refusal, read_event
from k3.stores.kubernetes.listing import Listing
from k3.stores.reader import ENDED, Reader

GUARD_SECONDS: Final = 10.0
"""A server that said nothing to anyone here for this long is asked."""

LIFE_SECONDS: Final = 600
"""How long one stream is asked for; then the next one goes on behind it."""

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0
_NEWLINE: Final = b"\n"


class Following(Reader):
    """A watch, followed."""

    def __init__(
        self, client: Client, listing: Listing, kind: Kind, since: int, *, on_resume: Callable[[], Awaitable[None]]
    ) -> None:
        """Follows what comes behind revision `since`: by `run`, in a task of its own. The caller waits for `is_open`.

        `on_resume` is called before a stream is opened again; it ends this watch where another store answers now.
        """
        super().__init__(since)
        self._client = client
        self._listing = listing
        self._kind = kind
        self._cursor = since
        self._on_resume = on_resume
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def is_open(self) -> None:
        """Returns once the first stream is open. Raises Expired, Forbidden, Unavailable."""
        try:
            async with time_limit(2 * limits.STORE_TIMEOUT_SECONDS):
                await asyncio.shield(self._opened)
        except TimeoutError:
            raise Unavailable(troubles.silent(self._client.asker)) from None

    async def run(self) -> None:
        """Fills the reader's queue until something ends it. Whatever that is, the reader gets an error in the end (ADR 19)."""
        try:
            await self._follow()
        except K3Error as error:
            self.end(error)
        finally:
            self.end(Unavailable(ENDED))

    def end(self, error: K3Error) -> None:
        """As `Reader.end`; a caller that still waits for the beginning gets the error, too."""
        super().end(error)
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # where nobody waits any more, nothing is to be said of it

    # --- streams, one after the other

    async def _follow(self) -> None:
        now = asyncio.get_running_loop().time
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, chance=random.random)
        give_up_at = 0.0
        while True:
            before, began = self._cursor, now()
            try:
                async with self._stream() as pieces:
                    await gather(lambda: self._read(pieces), self._guard)
            except Unavailable:
                if self._end is not None or not self._opened.done():
                    raise
                # A stream that ends as soon as it begins, and brings nothing, is none.
                if self._cursor > before or now() > began + 2 * limits.STORE_TIMEOUT_SECONDS:
                    backoff.reset()
                    give_up_at = 0.0
                give_up_at = give_up_at or now() + limits.STORE_TIMEOUT_SECONDS
                if now() > give_up_at:
                    raise
            await asyncio.sleep(backoff.next_seconds())

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Gives a stream behind the cursor. Raises Expired, Forbidden, Unavailable."""
        if self._opened.done():
            await self._on_resume()
            if self._end is not None:
                raise self._end
        await self._check_known()
        ask = asking.watched(
            self._kind, resourceVersion=str(self._cursor), allowWatchBookmarks="true", timeoutSeconds=str(LIFE_SECONDS)
        )
        async with self._client.stream(ask) as pieces:
            if not self._opened.done():
                self._opened.set_result(None)
            yield pieces

    async def _check_known(self) -> None:
        """Raises Expired where the cursor lies in the future: the server would be silent until it gets there."""
        newest = (await self._listing.page(self._kind, size=1)).revision
        if self._cursor > newest or (self._cursor == 0 and newest > 0):  # to Kubernetes, 0 means any revision
            msg = f"revision {self._cursor} is not of this store, which is at {newest}: list again"
            raise Expired(msg)
        if self._cursor == newest and not self._opened.done():
            await self._queue.put(Bookmark(self._cursor))

    # --- one stream

    async def _read(self, pieces: AsyncIterator[bytes]) -> None:
        """Hands on what the stream brings. Raises Unavailable at its end."""
        async for line in lines(pieces):
            await self._hand_on(line)
        msg = "the watch was cut"
        raise Unavailable(msg)

    async def _hand_on(self, line: bytes) -> None:
        try:
            event = read_event(line, self._kind)
        except Odd as why:
            error = troubles.odd_answer(why, self._ask, self._client.asker)
            self.end(error)  # no cut: another stream would bring the same
            raise error from None
        if isinstance(event, Refusal):
            raise troubles.by_status(event.status, self._ask, self._client.asker)
        revision = event.object.revision if isinstance(event, Change) else event.revision
        if revision < self._cursor:
            msg = f"revision {revision} came behind {self._cursor}, out of order: list again"
            raise Expired(msg)
        if revision == self._cursor:
            return
        await self._queue.put(event)
        self._cursor = revision

    async def _guard(self) -> None:
        """Raises Unavailable where the server is silent and does not answer a question either."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(self._client.heard_at + GUARD_SECONDS - now(), 0.0))
            async with self._client.guarding:
                if self._client.heard_at + GUARD_SECONDS <= now():  # else the guard of another watch has asked
                    await self._listing.page(self._kind, size=1)

    @property
    def _ask(self) -> asking.Ask:
        return asking.watched(self._kind)


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gives each whole line; what is cut off at the end is none. Raises LongAnswer."""
    rest = bytearray()
    async for piece in pieces:
        *whole, last = piece.split(_NEWLINE)
        for line in whole:
            rest += line
            if rest.strip():
                yield bytes(rest)
            rest.clear()
        rest += last
        if len(rest) > limits.KUBERNETES_LINE_BYTES:
            raise LongAnswer(limits.KUBERNETES_LINE_BYTES)
