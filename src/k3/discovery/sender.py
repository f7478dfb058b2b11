"""Sends requests to Consul's HTTP API and answers with JSON, or with one clear error (see `troubles`).

Knows the token, the namespace and the connections, and nothing of what is asked. The token travels in its header and appears
in no message.
"""

import gc
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from k3 import __version__
from k3.agent.http import Answer, Http, HttpError, Request
from k3.core.errors import Invalid
from k3.discovery.settings import ConsulSettings
from k3.discovery.troubles import REFUSED, no_answer, refusal

CALL_SECONDS: Final = 10.0
"""For a call that does not block: a Consul agent without a leader takes 7 s to say so (its `rpc_hold_timeout`)."""

_OK: Final = 200


def read_timeout_seconds(wait_seconds: float) -> float:
    """Returns how long a blocking query may take: Consul adds up to a sixteenth, and a leaderless agent hangs for 7 s."""
    return wait_seconds * 17 / 16 + 10


class Sender:
    """The connections to one Consul agent. Closed with `aclose`."""

    def __init__(self, settings: ConsulSettings) -> None:
        """Raises ConfigInvalid for files that cannot be used."""
        self._settings = settings
        self._http = Http(settings.server())
        self._token = settings.read_token()

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

    async def read(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        """Returns the JSON that a GET answers with, at once. Raises what `call` raises, and Invalid for other than JSON."""
        query = self.query(parameters)
        return self.parse(await self.call("GET", f"{path}?{query}" if query else path))

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

    def parse(self, answer: Answer) -> Any:  # noqa: ANN401 - JSON
        """Returns the JSON of an answer, and lets go of its body. Raises Invalid where it is none."""
        try:
            return _parsed(answer.take_body())
        except (ValueError, RecursionError):
            msg = f"{self.where} answered with something that is not JSON; is it the address of Consul's HTTP API?"
            raise Invalid(msg) from None

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _send(self, method: str, target: str, body: bytes, timeout_seconds: float) -> Answer:
        headers = [("Host", self._settings.authority), ("User-Agent", f"k3/{__version__}"), ("Accept", "application/json")]
        if self._token:
            headers.append(("X-Consul-Token", self._token))
        request = Request(method, target, tuple(headers), body)
        try:
            return await self._http.request(request, timeout_seconds=timeout_seconds)
        except (OSError, HttpError) as error:
            raise no_answer(error, self.where, waited_seconds=timeout_seconds) from None

    def _has_new_token(self) -> bool:
        """Reads the token again; returns whether it is another one."""
        former, self._token = self._token, self._settings.read_token()
        return former != self._token


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Parses JSON without the cyclic collector, which takes longer than the parser where there is much to read."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        # As json.loads decodes bytes itself, but so that they can be let go of first.
        text = body.decode("utf-8", "surrogatepass")
        del body
        return json.loads(text)
    finally:
        if was_on:
            gc.enable()
