"""Sends requests to Consul's HTTP API and answers with JSON, or with one clear error (see `troubles`).

Knows the token, the namespace and the connections, and nothing of what is asked. The token travels in its header and appears
in no message. A list is handed over element by element as it comes, and is never in memory as a whole (ADR 42).
"""

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from k3 import __version__
from k3.agent.http import Answer, Http, HttpError, Request
from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.documents import DECODER, is_too_deep
from k3.core.errors import Forbidden, Invalid
from k3.discovery.elements import Collector, Elements, NoList
from k3.discovery.settings import ConsulSettings
from k3.discovery.troubles import REFUSED, no_answer, refusal, unfinished

T = TypeVar("T")

CALL_SECONDS: Final = 10.0
"""For a call that does not block: a Consul agent without a leader takes 7 s to say so (its `rpc_hold_timeout`)."""

LIST_SECONDS: Final = 20.0
"""For a list to come once its head is there: a blocking query may be silent for a minute, but not amid its answer."""
PIECE_BYTES: Final = 64 * 1024
"""So much of a list is parsed at once, before other tasks get their turn."""

_OK: Final = 200


def read_timeout_seconds(wait_seconds: float) -> float:
    """Returns how long a blocking query may take: Consul adds up to a sixteenth, and a leaderless agent hangs for 7 s."""
    return wait_seconds * 17 / 16 + 10


class Sender:
    """The connections to one Consul agent. Closed with `aclose`."""

    def __init__(self, settings: ConsulSettings) -> None:
        """Raises ConfigInvalid for files that cannot be used."""
        self._settings = settings
        self._http = Http(settings.server(), answer_bytes=limits.CONSUL_ELEMENT_BYTES)
        self._token = settings.read_token()
        self.reading_seconds = 0.0
        """How much of a core's time all lists have taken so far."""

    @property
    def where(self) -> str:
        """The agent's address, for people."""
        return self._settings.where

    @property
    def has_token(self) -> bool:
        """Whether the requests carry a token."""
        return bool(self._token)

    def query(self, parameters: Mapping[str, str]) -> str:
        """Returns the parameters as in a URL, behind the question mark, with the namespace where one is set."""
        namespace = self._settings.namespace
        return urlencode({**parameters, **({"ns": namespace} if namespace else {})})

    def target(self, path: str, **parameters: str) -> str:
        """Returns path and query."""
        query = self.query(parameters)
        return f"{path}?{query}" if query else path

    async def read(
        self,
        target: str,
        collector: Collector[T],
        *,
        timeout_seconds: float = CALL_SECONDS,
    ) -> tuple[Mapping[str, str], T]:
        """Has each element of the list that a GET answers with taken in as it comes; returns the headers, and the result.

        Raises what `call` raises, and Invalid where the answer is no list.
        """
        try:
            async with time_limit(timeout_seconds) as limit:
                try:
                    return await self._read(target, collector, timeout_seconds, limit)
                except Forbidden:
                    if not self._has_new_token():
                        raise
                    return await self._read(target, collector, timeout_seconds, limit)
        except (OSError, HttpError) as error:
            raise no_answer(error, self.where, waited_seconds=timeout_seconds) from None
        except NoList as error:
            raise self._not_json(str(error)) from None

    async def _read(
        self, target: str, collector: Collector[T], timeout_seconds: float, limit: asyncio.Timeout
    ) -> tuple[Mapping[str, str], T]:
        """`limit`: of the caller's wait for an answer, which ends where a list begins: that has a time of its own."""
        clock = asyncio.get_running_loop().time
        request, bound = self._request("GET", target), limits.HTTP_ANSWER_BYTES
        async with self._http.stream(request, timeout_seconds=timeout_seconds, bound=bound) as (head, pieces):
            if head.status == _OK:
                limit.reschedule(None)
                began = clock()
                try:
                    async with time_limit(LIST_SECONDS):
                        return head.headers, await self._collected(pieces, collector)
                except TimeoutError:
                    raise unfinished(self.where, after_seconds=clock() - began) from None
            body = await anext(pieces, b"")
        raise refusal(head.status, body, self.where)

    async def _collected(self, pieces: AsyncIterator[bytes], collector: Collector[T]) -> T:
        """Has the elements of a list taken in; returns the result. Raises NoList."""
        elements = Elements()
        async with aclosing(_parts(pieces)) as parts:
            async for part, is_last in parts:
                began = time.thread_time()
                try:
                    with _without_collector():
                        wants_more = all(map(collector.take, elements.feed(part, is_last=is_last)))
                finally:
                    self.reading_seconds += time.thread_time() - began
                if not wants_more:
                    break
                await asyncio.sleep(0)
        return collector.result()

    async def call(self, method: str, target: str, *, body: bytes = b"", timeout_seconds: float = CALL_SECONDS) -> Answer:
        """Returns an answer with status 200. Where the token is refused and its file has another one by now, tries that too.

        Raises Unavailable, Forbidden, NotFound or Invalid.
        """
        answer = await self._send(method, target, body, timeout_seconds)
        if answer.status in REFUSED and self._has_new_token():
            answer = await self._send(method, target, body, timeout_seconds)
        if answer.status != _OK:
            raise refusal(answer.status, answer.body, self.where)
        return answer

    def parse(self, answer: Answer) -> Mapping[str, Any]:
        """Returns the JSON object that an answer is. Raises Invalid where it is none."""
        try:
            found = DECODER.decode(answer.body.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or is_too_deep(found, answer.body.count(b"{") + answer.body.count(b"[")):
            why = "not a JSON object"
            raise self._not_json(why)
        return found

    def _not_json(self, why: str) -> Invalid:
        return Invalid(f"{self.where} answered with something that is not JSON of Consul's ({why}); is it Consul's HTTP API?")

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _send(self, method: str, target: str, body: bytes, timeout_seconds: float) -> Answer:
        try:
            return await self._http.request(self._request(method, target, body), timeout_seconds=timeout_seconds)
        except (OSError, HttpError) as error:
            raise no_answer(error, self.where, waited_seconds=timeout_seconds) from None

    def _request(self, method: str, target: str, body: bytes = b"") -> Request:
        headers = [("Host", self._settings.authority), ("User-Agent", f"k3/{__version__}"), ("Accept", "application/json")]
        if self._token:
            headers.append(("X-Consul-Token", self._token))
        return Request(method, target, tuple(headers), body)

    def _has_new_token(self) -> bool:
        """Reads the token again; returns whether it is another one."""
        former, self._token = self._token, self._settings.read_token()
        return former != self._token


@contextmanager
def _without_collector() -> Iterator[None]:
    """Has the cyclic collector stand by: it takes longer than the parser where there is much to read."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


async def _parts(pieces: AsyncIterator[bytes]) -> AsyncGenerator[tuple[bytes, bool], None]:
    """Gives what came in parts of a size that is worth parsing, and whether each is the last one."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered), False
            gathered.clear()
    yield bytes(gathered), True
