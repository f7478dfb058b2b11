import logging
from typing import Any

import pytest

from k3.agent.log_repeats import Repeats
from k3.core import limits
from k3.server.access import audit, bounds, reviews
from k3.server.access.bounds import Refusals, Share
from k3.server.access.identity import ANONYMOUS, of_certificate, of_local, of_token
from k3.server.access.roles import Attempt
from k3.server.status import Refused

WEB1 = of_token("0123456789", "agent", "web1")
VIEW = of_token("0123456789", "view", "")
ADMIN = of_token("0123456789", "admin", "")


def test_an_origin_has_its_share_and_the_others_a_few_whatever_it_takes() -> None:
    share = Share(10, 8, few=2)
    assert [share.take("a") for _ in range(9)] == [True] * 8 + [False]
    assert share.take("b")
    assert share.take("b")
    assert not share.take("b")
    assert share.take("c")
    assert share.take("c")
    assert not share.take("c")
    for _ in range(8):
        share.give_back("a")
    assert (share.held("a"), share.total) == (0, 4)
    assert share.take("c", 5)
    assert not share.take("c", 2)


def test_a_connection_is_a_strangers_until_it_is_known_who_is_there() -> None:
    held = bounds.Bounds(connections=4)
    held.connections = Share(4, 1, few=1)
    strangers = [bounds.Seat(held, f"fd00::{number}") for number in range(6)]
    assert [each.take() for each in strangers] == [True] * 4 + [False] * 2  # a few, although there are but two
    strangers[0].prove(ANONYMOUS, "fd00::0")
    assert held.strangers.total == 4
    strangers[0].prove(VIEW, "fd00::0")
    strangers[0].prove(VIEW, "fd00::0")
    assert (held.strangers.total, held.connections.total) == (3, 1)
    with pytest.raises(Refused, match="too many connections"):
        strangers[1].prove(VIEW, "fd00::1")
    for each in strangers * 2:
        each.leave()
    assert (held.strangers.total, held.connections.total) == (0, 0)


def test_refusals_are_answered_at_a_pace_for_each_network() -> None:
    refusals = Refusals()
    waits = [refusals.wait_seconds("10.0.0.1", 0.0) for _ in range(limits.API_REFUSALS_AT_ONCE + 2)]
    assert waits == [0.0] * limits.API_REFUSALS_AT_ONCE + [0.5, 0.5]
    assert refusals.wait_seconds("10.0.0.2", 0.0) == 0.0
    assert refusals.wait_seconds("10.0.0.1", 0.5) == 0.0
    for number in range(2 * limits.ORIGINS):
        refusals.wait_seconds(str(number), 1.0)
    assert len(refusals._left) == limits.ORIGINS


def test_an_origin_is_a_user_or_a_network() -> None:
    assert bounds.origin_of(ANONYMOUS, "fd00::1:2") == bounds.origin_of(ANONYMOUS, "fd00::3:4") == "fd00::/64"
    assert bounds.origin_of(WEB1, "10.0.0.1") == bounds.origin_of(WEB1, "10.0.0.2")
    assert bounds.origin_of(WEB1, "x") != bounds.origin_of(of_token("9876543210", "agent", "web1"), "x")
    assert bounds.origin_of(of_local("alice", may_write=False), "127.0.0.1") == "user local:alice "


def test_users_of_this_machine_do_not_take_each_others_places() -> None:
    held = bounds.Bounds()
    held.strangers = Share(100, 3)
    nobody, root = (of_local(name, may_write=name == "root") for name in ("nobody", "root"))
    crowd = [bounds.Seat(held, "127.0.0.1", nobody) for _ in range(4)]
    assert [each.take() for each in crowd] == [True] * 3 + [False]
    assert bounds.Seat(held, "127.0.0.1", root).take()


def test_too_many_says_when() -> None:
    assert bounds.too_many("x", 1.2).status()["details"] == {"retryAfterSeconds": 2}
    assert bounds.too_many("x", 0.2).status()["reason"] == "TooManyRequests"


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    return [(record.msg, record.fields) for record in caplog.records]  # type: ignore[attr-defined]


def test_a_line_for_each_write_and_one_a_minute_for_renewals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    repeats = Repeats(clock=lambda: 0.0)
    caplog.handler.addFilter(repeats)
    lease = Attempt(verb="update", group="coordination.k8s.io", resource="leases", namespace="kube-node-lease", name="web1")
    node = Attempt(verb="patch", resource="nodes", name="web1")
    try:
        for _ in range(3):
            audit.write(WEB1, lease, address="10.0.0.7", code=200, dry_run=False)
            audit.write(WEB1, node, address="10.0.0.7", code=200, dry_run=True)
            audit.write(WEB1, node, address="10.0.0.7", code=403, dry_run=False)
    finally:
        caplog.handler.removeFilter(repeats)
    events = [event for event, _ in told(caplog)]
    assert (events.count("api.renewed"), events.count("api.written"), events.count("api.write_refused")) == (1, 3, 1)
    assert told(caplog)[0][1]["object"] == "leases.coordination.k8s.io/kube-node-lease/web1"
    assert told(caplog)[1][1] == {
        "user": "system:node:web1",
        "verb": "patch",
        "object": "nodes/web1",
        "from": "10.0.0.7",
        "code": 200,
        "token": "0123456789",
        "dry_run": True,
    }


def test_reviews_answer_by_the_same_table() -> None:
    def asks(verb: str, name: str = "") -> dict[str, object]:
        return {"resourceAttributes": {"verb": verb, "resource": "nodes", "name": name}}

    assert reviews.self_access(WEB1, asks("update", "web1")) == {"allowed": True}
    assert reviews.self_access(WEB1, asks("update", "web2")) == {"allowed": False}
    assert reviews.self_access(VIEW, {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}) == {"allowed": True}
    about = {"user": "system:node:web1", "groups": ["system:nodes"]}
    assert reviews.access({**asks("update", "web1"), **about}) == {"allowed": True}
    assert reviews.access({**asks("get"), "user": "eva"}) == {"allowed": False}
    assert reviews.access({"nonResourceAttributes": {"verb": "get", "path": "/api"}, "user": "system:anonymous"}) == {
        "allowed": False
    }
    odd: list[dict[str, Any]] = [{}, {"resourceAttributes": {}, "nonResourceAttributes": {}}, {"resourceAttributes": []}]
    for spec in odd:
        with pytest.raises(Refused, match="exactly one of") as caught:
            reviews.self_access(VIEW, spec)
        assert caught.value.code == 422
    with pytest.raises(Refused) as caught:
        reviews.self_access(VIEW, {"resourceAttributes": {"verb": "x"}, "nonResourceAttributes": {"path": "/a"}})
    assert str(caught.value) == (
        '.authorization.k8s.io "" is invalid: spec: Invalid value: {"Path":"/a","Verb":""}: '
        "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    )
    with pytest.raises(Refused, match="no namespace on request"):
        reviews.self_rules(VIEW, {})
    with pytest.raises(Refused, match="at least one of user or group"):
        reviews.access(asks("get"))
    assert reviews.self_subject(WEB1)["userInfo"]["username"] == "system:node:web1"
    rules = reviews.self_rules(ADMIN, {"namespace": "default"})
    assert rules["resourceRules"] == [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    assert rules["nonResourceRules"] == [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    assert {"verbs": ["patch", "update"], "apiGroups": [""], "resources": ["nodes/status"], "resourceNames": ["web1"]} in (
        reviews.self_rules(WEB1, {"namespace": "kube-system"})["resourceRules"]
    )
    assert reviews.token(None) == {"user": {}, "error": "invalid bearer token"}
    assert of_certificate("x", []).is_known
