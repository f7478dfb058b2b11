"""Whatever comes, the gate answers or refuses, and a role never grows by it."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from k3.server.access import reviews, roles, tokens
from k3.server.access.authenticate import Authenticator, Connection
from k3.server.access.bounds import Bounds
from k3.server.access.gate import Gate
from k3.server.access.identity import ANONYMOUS, of_local, of_token
from k3.server.access.roles import Attempt
from k3.server.status import Refused

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
KNOWN = tokens.make("view", "", now=NOW)
SITE, WEB1 = of_token("0123456789", "agent", ""), of_token("0123456789", "agent", "web1")
NAMES = ("Authorization", "Host", "Origin", "Sec-Fetch-Site", "Impersonate-User", "Impersonate-Group", "Forwarded", "X")
VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["localhost", "[::1]:8080", "[", "[]:", "::1", "localhost:99999", "127.1", "Bearer", f"Bearer {KNOWN.text}", "null"]
    ),
)
WORDS = st.sampled_from(
    [
        "*",
        "get",
        "create",
        "patch",
        "delete",
        "nodes",
        "nodes/status",
        "leases",
        "events",
        "web1",
        "web2",
        "web1.1",
        "default",
        "kube-system",
        "kube-node-lease",
        "coordination.k8s.io",
        "k3-x",
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), WORDS, st.text(max_size=8)),
    lambda deeper: st.one_of(
        st.lists(deeper, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "name",
                    "labels",
                    "k3.network/managed",
                    "status",
                    "conditions",
                    "type",
                    "reason",
                    "involvedObject",
                    "kind",
                    "spec",
                    "user",
                    "groups",
                    "verb",
                    "path",
                    "resource",
                    "resourceAttributes",
                    "nonResourceAttributes",
                    "namespace",
                ]
            ),
            deeper,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
OBJECTS = JSON.filter(lambda value: isinstance(value, dict))


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=5), st.booleans())
def test_any_headers(headers: list[tuple[str, str]], is_local: bool) -> None:
    bounds = Bounds()
    asks = Authenticator({KNOWN.token.id: KNOWN.token}.get, now=lambda: NOW)
    gate = Gate(asks, bounds, clock=lambda: 0.0)
    local = of_local("alice", may_write=False) if is_local else None
    with suppress(Refused):
        entered = gate.enter(Connection(address="127.0.0.1", local=local), headers)
        assert entered.user in {local, KNOWN.token.user(), ANONYMOUS, of_local("forwarded", may_write=False)}
        assert not roles.may(entered.user, Attempt(verb="create", resource="nodes"))
        entered.leave()
    assert bounds.requests.total == 0


@given(st.lists(WORDS, min_size=6, max_size=6))
def test_the_agent_of_one_machine_writes_what_is_named_for_it(words: list[str]) -> None:
    verb, group, resource, subresource, namespace, name = words
    attempt = Attempt(verb=verb, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name)
    if verb in {"patch", "delete"} and roles.may(WEB1, attempt):
        assert name in {"web1", "web1.1"}
    assert not roles.may(ANONYMOUS, attempt)
    assert roles.may(WEB1, attempt) or str(roles.forbidden(WEB1, attempt))


@example(after={"metadata": []}, before={"metadata": None}, resource="nodes")
@given(after=OBJECTS, before=st.one_of(st.none(), OBJECTS), resource=st.sampled_from(["nodes", "events", "leases"]))
def test_any_object_is_judged(after: dict[str, Any], before: dict[str, Any] | None, resource: str) -> None:
    attempt = Attempt(verb="patch", resource=resource, namespace="default", name="web1.1")
    for user in (SITE, WEB1):
        assert isinstance(roles.why_not(user, attempt, before=before, after=after), str)


@given(OBJECTS)
def test_any_review(spec: dict[str, Any]) -> None:
    answers: list[Callable[[], dict[str, Any]]] = [
        lambda: reviews.self_access(WEB1, spec),
        lambda: reviews.access(spec),
        lambda: reviews.self_rules(SITE, spec),
    ]
    for answer in answers:
        with suppress(Refused):
            assert isinstance(answer(), dict)
