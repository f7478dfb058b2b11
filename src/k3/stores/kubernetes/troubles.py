"""What a Kubernetes API refuses, as one of k3's errors: cause and remedy in one line, without a secret in it. Pure.

A refusal counts only where the server itself says it, in a Status. What a proxy says in its place, or any answer that is none
of Kubernetes', is no answer: `Unavailable`, so that no lost server looks like an empty one.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from k3.core.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    K3Error,
    NotFound,
    NotPermitted,
    TooLarge,
    Unavailable,
)
from k3.core.records import dataclass
from k3.core.safe_text import one_line
from k3.stores.kubernetes.asking import Ask, matches
from k3.stores.kubernetes.documents import Odd, parse

CLOSED: Final = "the store was closed"
UNKNOWN: Final = "; the write may or may not have happened"
_TEXT_CHARACTERS: Final = 300
_REDIRECTS: Final = range(300, 400)
_UNAUTHORIZED: Final = 401
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = range(500, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """What an error may name of a request: where it went, and how this client showed who it is."""

    url: str
    token_file: str = ""
    has_token: bool = False
    has_certificate: bool = False

    @property
    def api(self) -> str:
        """The server, for people."""
        return f"the Kubernetes API at {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A Status (Kubernetes' own), and what it answers."""

    ask: Ask
    asker: Asker
    reason: object
    text: str
    details: Mapping[str, Any]


def refusal(code: int, body: bytes, ask: Ask, asker: Asker) -> K3Error:
    """Returns the error that an answer other than success stands for."""
    try:
        found = parse(body)
    except Odd:
        found = {}
    if found.get("kind") != "Status":
        return _no_status(code, body, ask, asker)
    return by_status({**found, "code": code}, ask, asker)


def by_status(status: Mapping[str, Any], ask: Ask, asker: Asker) -> K3Error:
    """Returns the error that a Status stands for."""
    code, reason, details = status.get("code"), status.get("reason"), status.get("details")
    text = shown(status.get("message")) or shown(reason) or "no reason given"
    said = Said(ask=ask, asker=asker, reason=reason, text=text, details=details if isinstance(details, dict) else {})
    meaning = _MEANINGS.get(code) if isinstance(code, int) else None
    found = meaning(said) if meaning else None
    return found or Unavailable(f"{asker.api} cannot answer now ({code}: {text}){_unknown(code, ask)}")


def odd_answer(why: Odd, ask: Ask, asker: Asker) -> Unavailable:
    """Returns the error for an answer that is none of a Kubernetes API."""
    unknown = UNKNOWN if ask.is_write else ""
    return Unavailable(f"what {asker.url} answers to {ask.verb} {ask.resource} is none of Kubernetes: {why}{unknown}")


def paused(seconds: float, asker: Asker) -> Unavailable:
    """Returns the error for a server that asked to be left alone for a while (RFC 9110 §10.2.3)."""
    return Unavailable(f"{asker.api} asks to be left alone for {seconds:.0f} s (Retry-After)")


def silent(asker: Asker) -> str:
    """Returns what a person is told of a server that does not answer in time."""
    return f"{asker.api} does not answer in time"


def shown(text: object) -> str:
    """Returns outside text fit for a line; nothing for what is no text."""
    return one_line(" ".join(text.split()))[:_TEXT_CHARACTERS] if isinstance(text, str) else ""


def _missing(said: Said) -> K3Error:
    ask, asker = said.ask, said.asker
    if said.reason == "NotFound" and ask.name and matches(said.details, ask):
        return NotFound(f"{ask.resource} {ask.name} not found")
    if ask.verb == "create" and said.details.get("kind") == "namespaces":
        name = shown(said.details.get("name"))
        return Invalid(f"{asker.api} has no namespace {name}: kubectl create namespace {name}")
    return Unavailable(f"{asker.api} has no {ask.resource} ({said.text}): is it the address of a whole Kubernetes API?")


def _in_the_way(said: Said) -> K3Error:
    return AlreadyExists(said.text) if said.reason == "AlreadyExists" else Conflict(f"{said.text}; read it again")


def _expired(said: Said) -> K3Error:
    return Expired(f"{said.text}: list again")


def _in_the_future(said: Said) -> K3Error | None:
    """Returns the error for a revision that the server has not reached; None: it took too long for another reason."""
    causes = said.details.get("causes")
    reasons = [each.get("reason") for each in causes if isinstance(each, dict)] if isinstance(causes, list) else []
    return _expired(said) if "ResourceVersionTooLarge" in reasons else None


def _too_large(said: Said) -> K3Error:
    return TooLarge(f"{said.asker.api} takes no object of that size: {said.text}")


def _invalid(said: Said) -> K3Error | None:
    return Invalid(f"{said.asker.api} does not take the object: {said.text}") if said.ask.is_write else None


def _forbidden(said: Said) -> K3Error:
    ask, asker = said.ask, said.asker
    remedy = "give its role that right" if asker.has_token or asker.has_certificate else "it shows no token or certificate"
    kind = NotPermitted if ask.is_write else Forbidden
    return kind(f"{asker.api} does not let this client {ask.verb} {ask.resource} ({said.text}): {remedy}")


def _failed(said: Said) -> K3Error | None:
    return _too_large(said) if "request is too large" in said.text else None  # etcd's own bound, behind the server


_MEANINGS: Final[Mapping[int, Callable[[Said], K3Error | None]]] = {
    400: _invalid,
    401: lambda said: Forbidden(_unknown_client(said.asker)),
    403: _forbidden,
    404: _missing,
    409: _in_the_way,
    410: _expired,
    413: _too_large,
    422: _invalid,
    500: _failed,
    504: _in_the_future,
}


def _no_status(code: int, body: bytes, ask: Ask, asker: Asker) -> K3Error:
    """Returns the error for what says no, and is perhaps not the server at all."""
    text = shown(body[: 4 * _TEXT_CHARACTERS].decode("utf-8", "replace"))[:120]
    if code == _UNAUTHORIZED:
        return Forbidden(_unknown_client(asker))
    if code in _SERVER_ERRORS or code == _TOO_MANY:
        why = f"{asker.url} cannot answer now (HTTP {code}: {text or 'no reason given'}){_unknown(code, ask)}"
    elif "HTTP request to an HTTPS server" in text:
        why = f"{asker.url} speaks TLS: write https://"
    elif code in _REDIRECTS:
        why = f"{asker.url} sends elsewhere (HTTP {code}): is it the address of a Kubernetes API?"
    else:
        advice = "is it etcd? then write etcd://" if asker.url.endswith(":2379") else "is a proxy in its place?"
        why = f"what answers at {asker.url} is no Kubernetes API (HTTP {code}: {text or 'nothing'}); {advice}"
    return Unavailable(why)


def _unknown_client(asker: Asker) -> str:
    if asker.token_file:
        return f"{asker.api} does not know the token in {asker.token_file}: it was revoked, or is over; put a new one there"
    if asker.has_token:
        return f"{asker.api} does not know this token: it was revoked, or is over; give a new one"
    if asker.has_certificate:
        return f"{asker.api} does not know this client's certificate: is it over, or of another CA?"
    return f"{asker.api} wants to know who asks: give K3_STORE_TOKEN, token_file, cert_file or a kubeconfig"


def _unknown(code: object, ask: Ask) -> str:
    return UNKNOWN if ask.is_write and code in _SERVER_ERRORS else ""
