"""From what a connection and its request show to a user, or a refusal (401).

A credential that is given is never ignored: one that does not hold is refused, even where none is asked for. So are the headers
by which another user is to be impersonated, which Kubernetes knows and k3 does not: whoever sends them must not be taken for
itself.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from k3.core import limits
from k3.core.records import dataclass
from k3.server.access import roles, tokens
from k3.server.access.identity import ANONYMOUS, User, certificate_names, of_certificate
from k3.server.access.roles import Attempt
from k3.server.access.tokens import Token
from k3.server.status import Refused

_BEARER: Final = "bearer"
_IMPERSONATE: Final = "impersonate-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What is known of a connection once it is there; the same for each of its requests."""

    address: str
    """The client's, an IP literal."""
    certificate: Mapping[str, Any] | None = None
    """Of a client whose chain was verified, as `ssl.SSLSocket.getpeercert` has it."""
    local: User | None = None
    """The user of this machine at the other end, over loopback without TLS (`loopback`)."""


class Authenticator:
    """Knows who asks. It reads tokens from where the caller keeps them, and keeps none."""

    def __init__(self, find: Callable[[str], Token | None], *, now: Callable[[], datetime]) -> None:
        """`find` returns the token of an id; `now` is the server's clock."""
        self._find = find
        self._now = now

    def user(self, connection: Connection, headers: Iterable[tuple[str, str]]) -> User:
        """Returns who asks, `ANONYMOUS` where nothing was shown. Raises Refused: 400, 401, 403."""
        pairs = [(name.lower(), value) for name, value in headers]
        given = [value for name, value in pairs if name == "authorization"]
        if len(given) > 1:
            msg = "more than one Authorization header"
            raise Refused(400, msg)
        user = self._shown(connection, given)
        if wanted := next(((name, value) for name, value in pairs if name.startswith(_IMPERSONATE)), None):
            resource = "groups" if wanted[0] == f"{_IMPERSONATE}group" else "users"
            raise roles.forbidden(user, Attempt(verb="impersonate", resource=resource, name=wanted[1]))
        return user

    def _shown(self, connection: Connection, given: list[str]) -> User:
        if connection.certificate:
            return self._of_certificate(connection.certificate)
        if given:
            return self.of_token(_bearer(given[0])).user()
        return connection.local or ANONYMOUS

    def of_token(self, text: str) -> Token:
        """Returns the token of a text. Raises Refused (401)."""
        found = tokens.checked(text, self._find(tokens.id_of(text)), self._now())
        if found is None:
            raise unauthorized()
        return found

    def is_over(self, user: User) -> bool:
        """Whether what a user showed no longer holds: its token was revoked, or its time is over."""
        if not user.token:
            return False
        found = self._find(user.token)
        return found is None or found.user() != user or found.is_over(self._now())

    def _of_certificate(self, certificate: Mapping[str, Any]) -> User:
        """TLS has checked the chain when the connection was made; it may be over since."""
        name, organizations = certificate_names(certificate)
        end = certificate.get("notAfter")
        if not name or not isinstance(end, str) or ssl.cert_time_to_seconds(end) <= self._now().timestamp():
            raise unauthorized()
        return of_certificate(name, organizations)


def unauthorized() -> Refused:
    """Returns the refusal of credentials that do not hold. It says no more, whatever is wrong with them."""
    return Refused(401, "Unauthorized")


def _bearer(header: str) -> str:
    """Returns the token in an Authorization header (RFC 6750 §2.1). Raises Refused (401)."""
    scheme, _, token = header.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != _BEARER or not token or len(token) > limits.TOKEN_BYTES:
        raise unauthorized()
    return token
