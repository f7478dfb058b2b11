"""Requests to one Kubernetes API: who asks, for how long, and how often.

A read that was lost on the way may be repeated, a write is sent once: it is repeated only where the server refused it before
doing anything, for the login's sake (401) or because it has too much to do (429). A server that asks to be left alone
(Retry-After) is. Every request has a time limit, and every answer a bound.

Knows nothing of keys and objects.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from k3 import __version__
from k3.agent.http import Http, HttpError, Request
from k3.agent.tasks import time_limit, time_limit_at
from k3.core import limits
from k3.core.errors import Unavailable
from k3.core.objects import Manifest
from k3.core.safe_text import printable
from k3.stores.kubernetes import troubles
from k3.stores.kubernetes.asking import METHODS, Ask
from k3.stores.kubernetes.credentials import Credentials, Login
from k3.stores.kubernetes.documents import Odd, parse
from k3.stores.kubernetes.troubles import Asker
from k3.stores.kubernetes.unreachable import no_answer

_SUCCESS: Final = range(200, 300)
_UNAUTHORIZED: Final = 401
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
SILENCE_SECONDS: Final = 90.0
"""A stream that brings nothing for this long, not even a bookmark (which come each minute), is opened again."""

_SECONDS: Final = re.compile(r"[0-9]{1,6}")


class Client:
    """The connections to one API. Closed with `aclose`."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._login = credentials.login
        self._http, self._streams = _connections(self._login)
        self._slots = asyncio.Semaphore(limits.KUBERNETES_CALLS)
        self._alone_until = 0.0
        """Until when the server asked to be left alone, by the event loop's clock."""
        self.heard_at = 0.0
        """When the server last answered."""
        self.guarding = asyncio.Lock()
        """Held by whoever asks only to hear whether the server is there."""
        self._is_closed = False

    @property
    def asker(self) -> Asker:
        """What errors may name."""
        login = self._login
        return Asker(
            url=login.url,
            token_file=login.token_file if login.token else "",
            has_token=bool(login.token),
            has_certificate=login.has_certificate,
        )

    async def call(self, ask: Ask, *, until: float = 0.0) -> Manifest:
        """Makes a request, and returns the JSON that is its answer. Raises K3Error; Unavailable leaves the outcome unknown.

        `until` is the event loop's time to give up at; by default `limits.STORE_TIMEOUT_SECONDS` from now.
        """
        until = until or deadline()
        is_renewed = False
        while True:
            await self._be_ready(until)
            code, headers, body = await self._send(ask, until)
            if code == _UNAUTHORIZED and not is_renewed and self._credentials.renew():
                is_renewed = True
                continue
            if code in {_TOO_MANY, _UNAVAILABLE} and await self._is_to_be_asked_again(code, headers, ask, until):
                continue
            if code not in _SUCCESS:
                raise troubles.refusal(code, body, ask, self.asker)
            try:
                return parse(body)
            except Odd as why:
                raise troubles.odd_answer(why, ask, self.asker) from None

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncIterator[AsyncIterator[bytes]]:
        """Makes a request, and gives its answer in pieces as they come. Raises K3Error; so does reading the pieces."""
        await self._be_ready(deadline())
        request, streams = self._request(ask), self._streams
        try:
            async with (
                time_limit(limits.STORE_TIMEOUT_SECONDS) as limit,
                streams.stream(request, timeout_seconds=SILENCE_SECONDS) as (head, pieces),
            ):
                if head.status not in _SUCCESS:
                    self._note_pause(head.headers)
                    raise troubles.refusal(head.status, await anext(pieces, b""), ask, self.asker)
                if "json" not in head.headers.get("content-type", "json"):
                    why = Odd(f"it is {printable(head.headers['content-type'], limit=60)}")
                    raise troubles.odd_answer(why, ask, self.asker)
                limit.reschedule(None)
                self.heard_at = _now()
                yield pieces
        except (OSError, HttpError) as error:
            raise no_answer(error, ask, self.asker) from None

    async def aclose(self) -> None:
        """Closes the kept connections; requests under way are for their callers to cancel."""
        self._is_closed = True
        await self._http.aclose()
        await self._streams.aclose()

    # --- one request

    async def _send(self, ask: Ask, until: float) -> tuple[int, Mapping[str, str], bytes]:
        """Sends a request once, over a connection of the present login. Raises Unavailable, Forbidden."""
        http, request = self._http, self._request(ask)
        try:
            async with time_limit_at(until), self._slots:
                left = max(until - _now(), 0.0)
                answer = await http.request(request, timeout_seconds=left, may_repeat=not ask.is_write)
        except (OSError, HttpError) as error:
            raise no_answer(error, ask, self.asker) from None
        self.heard_at = _now()
        return answer.status, answer.headers, answer.body

    def _request(self, ask: Ask) -> Request:
        login = self._login
        headers = [("Host", login.server.authority), ("User-Agent", f"k3/{__version__}"), ("Accept", "application/json")]
        if login.token:
            headers.append(("Authorization", f"Bearer {login.token}"))
        if ask.body:
            headers.append(("Content-Type", "application/json"))
        target = f"{login.prefix}{ask.path}"
        return Request(METHODS[ask.verb], target, tuple(headers), ask.body)

    async def _be_ready(self, until: float) -> None:
        """Takes up what is new in the files of the login, and waits where the server asked for it. Raises Unavailable."""
        if self._is_closed:
            raise Unavailable(troubles.CLOSED)
        if self._credentials.renew() or self._login is not self._credentials.login:
            await self._take_up(self._credentials.login)
        if (pause := self._alone_until - _now()) > 0:
            if _now() + pause > until:
                raise troubles.paused(pause, self.asker)
            await asyncio.sleep(pause)

    async def _take_up(self, login: Login) -> None:
        """Has what follows go as `login`: over new connections where encryption or server are others."""
        former, self._login = self._login, login
        if former.server == login.server:
            return
        old = (self._http, self._streams)
        self._http, self._streams = _connections(login)
        for each in old:
            await each.aclose()

    async def _is_to_be_asked_again(self, code: int, headers: Mapping[str, str], ask: Ask, until: float) -> bool:
        """Waits as long as the server asks for. False: it does not, that is too long, or a write may have happened."""
        pause = self._note_pause(headers)
        if not pause or _now() + pause > until or (code == _UNAVAILABLE and ask.is_write):
            return False
        await asyncio.sleep(pause)
        return True

    def _note_pause(self, headers: Mapping[str, str]) -> float:
        """Returns for how many seconds the server asks to be left alone; 0: it does not."""
        text = headers.get("retry-after", "")
        pause = min(float(text), limits.KUBERNETES_PAUSE_SECONDS) if _SECONDS.fullmatch(text) else 0.0
        if pause:
            self._alone_until = max(self._alone_until, _now() + pause)
        return pause


def deadline() -> float:
    """Returns when a call begun now is given up, by the event loop's clock."""
    return _now() + limits.STORE_TIMEOUT_SECONDS


def _now() -> float:
    return asyncio.get_running_loop().time()


def _connections(login: Login) -> tuple[Http, Http]:
    """Returns connections for calls, and others for watches, which keep theirs."""
    return Http(login.server, idle=limits.KUBERNETES_CALLS), Http(login.server)
