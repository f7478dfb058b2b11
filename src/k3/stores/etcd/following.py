"""One watch of one kind: it resumes by itself after a short cut, and does not trust silence.

The cursor is the revision of the last change handed on. It never follows the revision in a header, which while catching up
is already the newest, except in etcd's own notes of progress, which are empty. Those are asked for where a list shows that the
store is further: perhaps only other kinds have changed, of which etcd says nothing (ADR 60). After a cut the stream is opened
again behind the cursor; where that is no longer kept, the watch ends with Expired, and where no member answers for
`limits.STORE_TIMEOUT_SECONDS`, with Unavailable. A stream that says nothing is compared with what a read shows: it may have
been forgotten by its server, or the server by its cluster.

A slow reader stops the stream by flow control, and etcd replays to it from its history, as long as that is kept.
"""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from grpc.aio import AioRpcError, UsageError

from k3.agent.backoff import Backoff
from k3.agent.tasks import gather, time_limit
from k3.core import limits
from k3.core.errors import Expired, K3Error, Unavailable
from k3.core.objects import Kind
from k3.core.store import Bookmark
from k3.stores.etcd import messages, troubles
from k3.stores.etcd.client import Client, Endpoint, deadline
from k3.stores.etcd.documents import Documents
from k3.stores.etcd.messages import Message
from k3.stores.reader import ENDED, Reader

log = logging.getLogger(__name__)

# After a loss of quorum a stream stays open and brings nothing, without an error.
GUARD_SECONDS: Final = 3.0
"""A stream that says nothing for this long is compared with a read, again and again."""

LATE_SECONDS: Final = 2.0
"""How much later than a read the stream may bring a change."""

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0


_ASKED_IN_ORDER: Final = {(3, 4): 31, (3, 5): 13}
"""From which patch on a note that was asked for overtakes no change (etcd issue 15220); a kube-apiserver asks no older one."""


def notes_are_in_order(version: str) -> bool:
    """Whether an etcd of this version answers a question for progress only when all changes up to there have been sent."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", version)
    if found is None:
        return False
    major, minor, patch = map(int, found.groups())
    return (major, minor) >= min(_ASKED_IN_ORDER) and patch >= _ASKED_IN_ORDER.get((major, minor), 0)


class _Cut(Exception):
    """The stream is of no use any more."""


class Stream:
    """An open watch stream on one member."""

    def __init__(self, endpoint: Endpoint, call: Any, *, can_be_asked: bool) -> None:  # noqa: ANN401 - grpc's call object
        """`can_be_asked`: whether the server's notes of progress come behind the changes that they speak of."""
        self.endpoint = endpoint
        self.can_be_asked = can_be_asked
        self._call = call
        self._is_writing = asyncio.Lock()

    async def read(self) -> Message:
        """Returns the next whole response. Raises _Cut. Cancelling it ends the stream."""
        response = await self._read()
        while response.fragment:
            rest = await self._read()
            response.events.extend(rest.events)
            response.fragment = rest.fragment
        return response

    async def send(self, request: Message) -> None:
        """Sends a request. Raises _Cut."""
        try:
            async with self._is_writing:  # grpc takes one request at a time
                await self._call.write(request)
        except (AioRpcError, UsageError, asyncio.InvalidStateError) as error:
            raise _Cut(str(error)) from None

    async def aclose(self) -> None:
        """Ends it, and waits until grpc has released it, which needs no answer of the server."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            await call.code()

    async def _read(self) -> Message:
        try:
            response = await self._call.read()
        except AioRpcError as error:
            raise _Cut(error.details()) from None
        except asyncio.CancelledError:
            # grpc raises the same error where the channel was closed as where this task is cancelled.
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            raise _Cut(troubles.CLOSED) from None
        if not hasattr(response, "watch_id"):  # grpc.aio.EOF
            msg = "the server ended the stream"
            raise _Cut(msg)
        return response


class Following(Reader):
    """A watch, followed."""

    def __init__(
        self, client: Client, documents: Documents, kind: Kind, since: int, *, on_resume: Callable[[], Awaitable[None]]
    ) -> None:
        """Follows what comes behind revision `since`. The caller calls `open` next, then `run` in a task of its own.

        `on_resume` is called before a stream is opened again; it ends this watch where another store answers now.
        """
        super().__init__(max(since, 0))
        self._on_resume = on_resume
        self._client = client
        self._documents = documents
        self.kind = kind
        self._cursor = self._told
        self._stream: Stream | None = None
        self._responses = 0
        self._is_reading = False

    async def open(self) -> None:
        """Opens the stream. Raises Expired, Forbidden, Unavailable."""
        try:
            async with time_limit(limits.STORE_TIMEOUT_SECONDS):
                self._stream, newest = await self._opened()
        except (_Cut, TimeoutError) as error:
            msg = (
                f"etcd at {self._client.asker().endpoint} ended the watch before it began: {str(error) or 'no answer in time'}"
            )
            raise Unavailable(msg) from None
        if self._cursor >= newest:
            self._queue.put_nowait(Bookmark(self._cursor))

    async def run(self) -> None:
        """Fills the reader's queue until something ends it. Whatever that is, the reader gets an error in the end (ADR 19)."""
        try:
            while True:
                await self._drain()
                self._stream = await self._reopened()
        except K3Error as error:
            self.end(error)
        finally:
            self.end(Unavailable(ENDED))
            if self._stream:
                await self._stream.aclose()
                self._stream = None

    async def ask(self, revision: int) -> None:
        """Has etcd say how far this watch is, if that is not as far as this revision."""
        stream = self._stream
        if stream is not None and stream.can_be_asked and self._cursor < revision:
            with suppress(_Cut):  # whoever reads it meets that
                await stream.send(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))

    # --- one stream

    async def _opened(self) -> tuple[Stream, int]:
        """Returns a stream behind the cursor, and the store's newest revision."""
        # etcd takes a watch from a future revision without an error, and would be silent until the store gets there.
        newest = await self._check_kept()
        endpoint = await self._client.ready(deadline())
        can_be_asked = notes_are_in_order(await endpoint.version(self._client.metadata))
        stream = Stream(endpoint, endpoint.watch(self._client.metadata), can_be_asked=can_be_asked)
        try:
            start, end = self._documents.span(self.kind)
            # `prev_kv`: a DELETED event carries the last state. `fragment`: one beyond --max-request-bytes comes in parts.
            # `progress_notify`: the cursor moves on while nothing changes, so that a cut finds it still kept.
            wanted = messages.WatchCreateRequest(
                key=start, range_end=end, start_revision=self._cursor + 1, progress_notify=True, prev_kv=True, fragment=True
            )
            await stream.send(messages.WatchRequest(create_request=wanted))
            self._check_alive(await stream.read())
        except BaseException:  # a cancelled caller has no other way to close it
            await stream.aclose()
            raise
        return stream, newest

    async def _check_kept(self) -> int:
        """Raises Expired where the cursor is compacted or in the future, and Forbidden where this user may not read here."""
        start, end = self._documents.span(self.kind)
        request = messages.RangeRequest(key=start, range_end=end, limit=1, keys_only=True, revision=max(self._cursor, 1))
        return int((await self._client.read(messages.RANGE, request)).header.revision)

    def _check_alive(self, response: Message) -> None:
        if not response.canceled:
            return
        if response.compact_revision:
            msg = f"revision {self._cursor} is no longer kept (oldest: {response.compact_revision}): list again"
            raise Expired(msg)
        asker = self._client.asker()
        # A watch is refused inside the stream, as text, not by a gRPC status.
        if "permission denied" in response.cancel_reason:
            raise troubles.no_right(asker)
        raise _Cut(response.cancel_reason)

    async def _drain(self) -> None:
        """Hands on what the stream brings, until it breaks; then the client turns to the next member."""
        assert self._stream is not None  # noqa: S101 - `open` has been called
        stream = self._stream
        try:
            await gather(lambda: self._read(stream), lambda: self._guard(stream))
        except _Cut as cut:
            self._client.lose(stream.endpoint, str(cut))
        finally:
            await stream.aclose()

    async def _read(self, stream: Stream) -> None:
        while True:
            self._is_reading = True
            response = await stream.read()
            self._is_reading = False
            self._responses += 1
            self._check_alive(response)
            await self._hand_on(response)

    async def _hand_on(self, response: Message) -> None:
        for event in response.events:
            try:
                change = self._documents.change(event)
            except LookupError:
                msg = f"the state before revision {event.kv.mod_revision} is no longer kept: list again"
                raise Expired(msg) from None
            if change is not None:
                await self._queue.put(change)
        if response.events:
            self._cursor = response.events[-1].kv.mod_revision
        # A note of progress: all up to this revision has been sent. With watch_id -1 it was asked for, and is about all watches
        # of its stream, which are this one.
        elif not response.created and response.header.revision > self._cursor and self._is_in_order(response):
            self._cursor = response.header.revision
            await self._queue.put(Bookmark(self._cursor))

    def _is_in_order(self, note: Message) -> bool:
        return note.watch_id >= 0 or (self._stream is not None and self._stream.can_be_asked)

    async def _guard(self, stream: Stream) -> None:
        """Raises _Cut for a stream of no use; never while a response is being handed on, as its beginning would be repeated."""
        while True:
            before = self._responses
            await asyncio.sleep(GUARD_SECONDS)
            if not self._is_silent_since(before):
                continue
            try:
                await self._compare(stream)
            except _Cut:
                if self._is_silent_since(before):
                    raise

    def _is_silent_since(self, responses: int) -> bool:
        """Whether the stream is waited for, not the reader, and has brought nothing behind `responses`."""
        return self._is_reading and self._responses == responses

    async def _compare(self, stream: Stream) -> None:
        """Raises _Cut where the member does not answer, or has something that it has not sent."""
        start, end = self._documents.span(self.kind)
        request = messages.RangeRequest(key=start, range_end=end, limit=1, keys_only=True, min_mod_revision=self._cursor + 1)
        kvs = (await self._asked(stream, request)).kvs
        if not kvs:
            return
        await asyncio.sleep(LATE_SECONDS)
        if self._cursor < kvs[0].mod_revision:
            msg = f"revision {kvs[0].mod_revision} was not sent"
            raise _Cut(msg)

    async def _asked(self, stream: Stream, request: Message) -> Message:
        """Asks the very member that the stream is on: another one may be further. Raises _Cut."""
        try:
            return await stream.endpoint.call(
                messages.RANGE, request, timeout=limits.STORE_TIMEOUT_SECONDS, metadata=self._client.metadata
            )
        except AioRpcError as error:
            if troubles.is_old_token(error):  # reading by the client renews the login; it may ask another member, which will do
                return await self._client.read(messages.RANGE, request)
            raise _Cut(str(troubles.explain(error, self._client.asker(stream.endpoint)))) from None

    # --- the next stream

    async def _reopened(self) -> Stream:
        """Returns a new stream. Raises Unavailable where that takes too long, Expired where the history is gone."""
        why = "the watch was cut"
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, chance=random.random)
        try:
            async with time_limit(limits.STORE_TIMEOUT_SECONDS):
                while True:
                    try:
                        await self._on_resume()
                        self._check_not_ended()
                        return (await self._opened())[0]
                    except (_Cut, Unavailable) as error:
                        why = str(error)
                    await asyncio.sleep(backoff.next_seconds())
        except TimeoutError:
            pass
        raise Unavailable(why)

    def _check_not_ended(self) -> None:
        if self._end is not None:
            raise self._end
