"""The one door: from a request to a pass, which says what its client may do, and is given back when the request is over.

The order is that of what it costs: where the request may come from at all, who asks, how much of that user is under way.
"""

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Final

from k3.core.addresses import network_of
from k3.core.objects import Manifest
from k3.core.records import dataclass
from k3.server.access import audit, bounds, browsers, reviews, roles
from k3.server.access.authenticate import Authenticator, Connection
from k3.server.access.bounds import Bounds, Share
from k3.server.access.identity import User, of_local
from k3.server.access.roles import Attempt
from k3.server.access.tokens import Token
from k3.server.status import Refused, bad_request, no_such_resource

_UNAUTHORIZED: Final = 401


@dataclass(slots=True, kw_only=True)
class Pass:
    """What the client of one request may do, and what it holds of the server meanwhile."""

    user: User
    origin: str
    address: str
    body_bytes: Share
    """What the bodies of its request are counted in."""
    _check_token: Callable[[str], Token]
    _held: list[tuple[Share, int]] = field(default_factory=list)

    def check(self, attempt: Attempt) -> None:
        """Raises Refused (403) where the client may not even try. To be asked before anything is looked up."""
        roles.require(self.user, attempt)

    def check_content(self, attempt: Attempt, *, before: Manifest | None, after: Manifest | None) -> None:
        """Raises Refused (403) where the client may not make this of that."""
        roles.require_content(self.user, attempt, before=before, after=after)

    def review(self, kind: str, spec: Manifest) -> Manifest:
        """Returns the status of a review by its spec. Raises Refused: 400, 403, 404, 422."""
        match kind:
            case "SelfSubjectReview":
                self._may_review("authentication.k8s.io", "selfsubjectreviews")
                return reviews.self_subject(self.user)
            case "SelfSubjectAccessReview":
                self._may_review("authorization.k8s.io", "selfsubjectaccessreviews")
                return reviews.self_access(self.user, spec)
            case "SelfSubjectRulesReview":
                self._may_review("authorization.k8s.io", "selfsubjectrulesreviews")
                return reviews.self_rules(self.user, spec)
            case "SubjectAccessReview":
                self._may_review("authorization.k8s.io", "subjectaccessreviews")
                return reviews.access(spec)
            case "TokenReview":
                self._may_review("authentication.k8s.io", "tokenreviews")
                return reviews.token(self._reviewed(reviews.token_of(spec)))
        raise no_such_resource()

    def hold(self, share: Share, amount: int = 1, *, what: str) -> None:
        """Takes a part of the server until the request is over. Raises Refused (429) beyond the bound."""
        if not share.take(self.origin, amount):
            raise bounds.too_many(what)
        self._held.append((share, amount))

    def leave(self) -> None:
        """Gives everything back. The request is over; leaving twice is fine."""
        while self._held:
            share, amount = self._held.pop()
            share.give_back(self.origin, amount)

    def _may_review(self, group: str, resource: str) -> None:
        self.check(Attempt(verb="create", group=group, resource=resource))

    def _reviewed(self, text: object) -> Token | None:
        if not isinstance(text, str) or not text:
            msg = "token is required for TokenReview in authentication"
            raise bad_request(msg)
        try:
            return self._check_token(text)
        except Refused as refused:
            if refused.code == _UNAUTHORIZED:
                return None
            raise


class Gate:
    """Lets requests in."""

    def __init__(self, authenticator: Authenticator, limits: Bounds, *, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._authenticator = authenticator
        self._limits = limits
        self._clock = clock

    def enter(
        self, connection: Connection, headers: Iterable[tuple[str, str]], *, is_watch: bool = False, is_file: bool = False
    ) -> Pass:
        """Returns the pass of a request; `leave` is to be called when it is over. Raises Refused: 400, 401, 403, 429, 503.

        `is_file`: for a file of the web page, to which a link on another site may lead.
        """
        pairs = list(headers)
        by_name = {name.lower(): value for name, value in pairs}
        browsers.check(by_name, is_plain=connection.local is not None, is_file=is_file)
        if connection.local is not None and browsers.is_forwarded(by_name):
            forwarded = of_local("forwarded", may_write=False)
            connection = Connection(address=connection.address, local=forwarded)
        try:
            user = self._authenticator.user(connection, pairs)
        except Refused as refused:
            raise self._turned_away(refused, connection.address) from None
        entered = Pass(
            user=user,
            origin=bounds.origin_of(user, connection.address),
            address=connection.address,
            body_bytes=self._limits.body_bytes,
            _check_token=self._authenticator.of_token,
        )
        if is_watch:
            entered.hold(self._limits.watches, what="too many watches")
        else:
            entered.hold(self._limits.requests, what="too many requests at once")
        return entered

    def _turned_away(self, refused: Refused, address: str) -> Refused:
        """Returns the refusal of who is not known; one that comes too often is told to wait."""
        if refused.code == _UNAUTHORIZED:
            wait = self._limits.refusals.wait_seconds(network_of(address), self._clock())
            refused = bounds.too_many("too many requests without a valid token", wait) if wait else refused
        audit.refused(str(refused), address=address, code=refused.code)
        return refused
