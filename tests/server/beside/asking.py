"""Scenes: requests one after the other, each as it goes over the wire, and what came back."""

import gzip
import http.client
import itertools
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

NODES: Final = "/api/v1/nodes"
EVENTS: Final = "/api/v1/namespaces/default/events"
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/default/leases"

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

_SECONDS: Final = 20.0
_WATCHES: Final = 8
"""Watches of a scene that go on at once."""
_REFERENCE: Final = re.compile(r"\$\{(\d+)\.([\w.]+)\}")
_HEADERS: Final = ("Content-Type", "Warning", "Retry-After", "Vary", "Allow", "Content-Encoding")
"""The headers of an answer that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. `${0.metadata.uid}`, in the path or the body, stands for a field of the scene's first answer."""

    method: str
    path: str
    body: Any = None
    """A document; a text or bytes are sent as they are."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Over those of every request; None takes one away."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Scene:
    """Requests that build on each other, on a server on which nothing else is."""

    name: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: `body` as JSON where it is some; a watch's is a list of its lines."""

    status: int
    headers: dict[str, list[str]]
    body: Any


def scene(name: str, *asks: Ask) -> Scene:
    """Returns a scene."""
    return Scene(name, asks)


def get(path: str, **headers: str | None) -> Ask:
    """Returns a GET; headers with `_` for `-`."""
    return Ask(method="GET", path=path, headers=_named(headers))


def post(path: str, body: Any, **headers: str | None) -> Ask:
    """Returns a POST."""
    return Ask(method="POST", path=path, body=body, headers=_named(headers))


def put(path: str, body: Any, **headers: str | None) -> Ask:
    """Returns a PUT."""
    return Ask(method="PUT", path=path, body=body, headers=_named(headers))


def patch(path: str, media_type: str, body: Any, **headers: str | None) -> Ask:
    """Returns a PATCH."""
    return Ask(method="PATCH", path=path, body=body, headers={"Content-Type": media_type, **_named(headers)})


def delete(path: str, body: Any = None, **headers: str | None) -> Ask:
    """Returns a DELETE."""
    return Ask(method="DELETE", path=path, body=body, headers=_named(headers))


def _named(headers: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server that is asked."""

    host: str
    port: int
    token: str = ""
    is_tls: bool = False

    def play(self, played: Scene) -> list[Answer]:
        """Asks all of a scene, and returns the answers as they came."""
        answers: list[Answer] = []
        with ThreadPoolExecutor(_WATCHES) as threads:
            for is_watch, asks in itertools.groupby(played.asks, key=lambda ask: "timeoutSeconds" in ask.path):
                before = list(answers)
                if is_watch:  # each takes its second, and none changes anything
                    answers += threads.map(lambda ask, before=before: self.ask(ask, before), asks)
                else:
                    for ask in asks:
                        answers.append(self.ask(ask, answers))
        return answers

    def ask(self, ask: Ask, before: Sequence[Answer] = ()) -> Answer:
        """Asks once."""
        connection = self._connection()
        try:
            return self._ask(connection, ask, before)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.is_tls:
            context = ssl._create_unverified_context()  # noqa: S323 - a server that was started for the test
            return http.client.HTTPSConnection(self.host, self.port, timeout=_SECONDS, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=_SECONDS)

    def _ask(self, connection: http.client.HTTPConnection, ask: Ask, before: Sequence[Answer]) -> Answer:
        body = _bytes(ask.body, before)
        headers: dict[str, str | None] = {"User-Agent": "beside/1", "Accept": JSON, "Authorization": None}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers |= {"Content-Type": JSON, "Content-Length": str(len(body))}
        headers |= ask.headers
        connection.putrequest(ask.method, _filled(ask.path, before), skip_accept_encoding=True)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        came = connection.getresponse()
        data = came.read()
        if came.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        found = {name: came.headers.get_all(name) or [] for name in _HEADERS}
        return Answer(status=came.status, headers={k: v for k, v in found.items() if v}, body=_parsed(data))


def _bytes(body: Any, before: Sequence[Answer]) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return _filled(body if isinstance(body, str) else json.dumps(body), before).encode()


def _filled(text: str, before: Sequence[Answer]) -> str:
    def value(match: re.Match[str]) -> str:
        found = before[int(match[1])].body
        for part in match[2].split("."):
            if not isinstance(found, (dict, list)):
                return "nothing"
            found = found[int(part)] if isinstance(found, list) else found.get(part)
        return str(found)

    return _REFERENCE.sub(value, text)


def _parsed(data: bytes) -> Any:
    text = data.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError:
        pass
    else:
        return [found] if isinstance(found, dict) and set(found) == {"type", "object"} else found
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return text
