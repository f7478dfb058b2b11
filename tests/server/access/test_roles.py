from typing import Any

import pytest

from k3.server.access import roles
from k3.server.access.identity import ANONYMOUS, User, of_certificate, of_local, of_token
from k3.server.access.roles import Attempt
from k3.server.status import Refused

VIEW = of_token("0123456789", "view", "")
SITE = of_token("0123456789", "agent", "")
WEB1 = of_token("0123456789", "agent", "web1")
ADMIN = of_token("0123456789", "admin", "")
BOB = of_certificate("bob", ["people"])
LEASES = "coordination.k8s.io"
MANAGED = {"k3.network/managed": "true", "k3.network/discovered": "true"}


def nodes(verb: str, name: str = "", subresource: str = "") -> Attempt:
    return Attempt(verb=verb, resource="nodes", name=name, subresource=subresource)


def leases(verb: str, namespace: str, name: str) -> Attempt:
    return Attempt(verb=verb, group=LEASES, resource="leases", namespace=namespace, name=name)


def events(verb: str, name: str = "", namespace: str = "default") -> Attempt:
    return Attempt(verb=verb, resource="events", namespace=namespace, name=name)


def review(group: str, resource: str) -> Attempt:
    return Attempt(verb="create", group=group, resource=resource)


def node(name: str, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, **more}


def event(name: str, about: str, kind: str = "Node") -> dict[str, Any]:
    return {"metadata": {"name": name}, "involvedObject": {"kind": kind, "name": about}}


@pytest.mark.parametrize(
    ("user", "attempt", "expected"),
    [
        # reading
        *[(user, nodes(verb), verb != "" and user in (VIEW, SITE, WEB1, ADMIN))
          for user in (VIEW, SITE, WEB1, ADMIN, BOB, ANONYMOUS) for verb in ("get", "list", "watch")],
        (VIEW, events("list"), True),
        (VIEW, Attempt(verb="list", resource="pods"), True),
        # view writes nothing
        *[(VIEW, nodes(verb, "web1"), False) for verb in (*roles.CHANGE, "deletecollection")],
        (VIEW, nodes("patch", "web1", "status"), False),
        (VIEW, leases("update", "kube-node-lease", "web1"), False),
        # the agent of one machine
        *[(WEB1, nodes(verb, "web1"), True) for verb in roles.CHANGE],
        *[(WEB1, nodes(verb, "web2"), False) for verb in roles.CHANGE],
        (WEB1, nodes("create"), True),
        (WEB1, nodes("patch", "web1", "status"), True),
        (WEB1, nodes("update", "web2", "status"), False),
        (WEB1, nodes("deletecollection"), False),
        (WEB1, leases("update", "kube-node-lease", "web1"), True),
        (WEB1, leases("update", "kube-node-lease", "web2"), False),
        (WEB1, leases("update", "kube-system", "web1"), False),
        (WEB1, events("create"), True),
        (WEB1, events("create", namespace="kube-system"), False),
        (WEB1, events("patch", "web1.3"), True),
        (WEB1, events("patch", "web2.3"), False),
        (WEB1, events("delete", "web1.3"), False),
        (WEB1, review("authentication.k8s.io", "tokenreviews"), True),
        # the agent of a network
        *[(SITE, nodes(verb, "web2"), True) for verb in roles.CHANGE],
        (SITE, nodes("deletecollection"), False),
        (SITE, leases("update", "kube-system", "k3-discovery-k3-node"), True),
        (SITE, leases("update", "kube-system", "kube-scheduler"), False),
        (SITE, leases("update", "kube-node-lease", "web1"), False),
        (SITE, review("authentication.k8s.io", "tokenreviews"), False),
        (SITE, Attempt(verb="create", resource="configmaps", namespace="default"), False),
        # all
        (ADMIN, nodes("deletecollection"), True),
        (ADMIN, Attempt(verb="create", resource="pods", subresource="eviction", namespace="default", name="p"), True),
        # everybody who is known
        *[(user, review("authorization.k8s.io", "selfsubjectaccessreviews"), user is not ANONYMOUS)
          for user in (VIEW, SITE, WEB1, ADMIN, BOB, ANONYMOUS)],
    ],
)  # fmt: skip
def test_who_may_what(user: User, attempt: Attempt, expected: bool) -> None:
    assert roles.may(user, attempt) is expected


@pytest.mark.parametrize(
    ("path", "anonymous", "known", "view"),
    [
        ("/healthz", True, True, True),
        ("/livez/ping", True, True, True),
        ("/version", True, True, True),
        ("/version/", True, True, True),
        ("/", False, False, True),
        ("/api", False, True, True),
        ("/apis/coordination.k8s.io/v1", False, True, True),
        ("/openapi/v3/api/v1", False, True, True),
        ("/apisx", False, False, True),
        ("/metrics", False, False, True),
        ("/sd", False, False, True),
    ],
)
def test_paths(path: str, anonymous: bool, known: bool, view: bool) -> None:
    attempt = Attempt(verb="get", path=path)
    assert [roles.may(user, attempt) for user in (ANONYMOUS, BOB, VIEW)] == [anonymous, known, view]
    assert not roles.may(VIEW, Attempt(verb="post", path=path))


@pytest.mark.parametrize(
    ("user", "attempt", "message", "details"),
    [
        (BOB, nodes("list"), 'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope',
         {"kind": "nodes"}),
        (BOB, nodes("patch", "web1", "status"),
         'nodes "web1" is forbidden: User "bob" cannot patch resource "nodes/status" in API group "" at the cluster scope',
         {"name": "web1", "kind": "nodes"}),
        (BOB, leases("get", "kube-system", "l"),
         ('leases.coordination.k8s.io "l" is forbidden: User "bob" cannot get resource "leases" in API group '
         '"coordination.k8s.io" in the namespace "kube-system"'),
         {"name": "l", "group": LEASES, "kind": "leases"}),
        (ANONYMOUS, Attempt(verb="get", path="/api<script>"),
         'forbidden: User "system:anonymous" cannot get path "/api&lt;script&gt;"', {}),
        (WEB1, nodes("patch", "web2"), 'nodes "web2" is forbidden: node "web1" is not allowed to modify node "web2"',
         {"name": "web2", "kind": "nodes"}),
        (WEB1, leases("update", "kube-node-lease", "web2"),
         'leases.coordination.k8s.io "web2" is forbidden: can only access node lease with the same name as the requesting node',
         {"name": "web2", "group": LEASES, "kind": "leases"}),
    ],
)  # fmt: skip
def test_a_refusal_has_kubernetes_words(user: User, attempt: Attempt, message: str, details: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        roles.require(user, attempt)
    assert caught.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "Forbidden",
        "details": details,
        "code": 403,
    }


KUBELET = node("web9")
OURS = node("web2", MANAGED)


@pytest.mark.parametrize(
    ("user", "attempt", "before", "after", "why"),
    [
        (WEB1, nodes("create"), None, node("web1"), ""),
        (WEB1, nodes("create"), None, node("web2"), 'node "web1" is not allowed to modify node "web2"'),
        (SITE, nodes("create"), None, OURS, ""),
        (SITE, nodes("create"), None, KUBELET, "agents write the Nodes that k3 manages"),
        (SITE, nodes("update", "web2"), OURS, OURS, ""),
        (SITE, nodes("delete", "web2"), OURS, None, ""),
        (SITE, nodes("delete", "web9"), KUBELET, None, "agents write the Nodes that k3 manages"),
        (SITE, nodes("update", "web9"), KUBELET, node("web9", MANAGED), "agents write the Nodes that k3 manages"),
        (SITE, nodes("update", "web2"), OURS, node("web2"), "agents write the Nodes that k3 manages"),
        (SITE, events("create"), None, event("web2.3", "web2"), ""),
        (SITE, events("create"), None, event("web2.3", "web2", "Pod"), "agents write events about nodes only"),
        (SITE, events("create"), None, event("other.3", "web2"), "the name of an event"),
        (WEB1, events("create"), None, event("web1.3", "web1"), ""),
        (WEB1, events("create"), None, event("web1.3", "web2"), 'agents write events about node "web1" only'),
        (WEB1, events("create"), None, event("web1.b.3", "web1"), "the name of an event"),
        (WEB1, events("create"), None, event("web2.3", "web1"), "User"),
        (WEB1, events("patch", "web1.3"), event("web1.3", "web2"), event("web1.3", "web1"), "agents write events"),
        (ADMIN, nodes("update", "web9"), KUBELET, KUBELET, ""),
    ],
)
def test_what_an_agent_may_write(user: User, attempt: Attempt, before: Any, after: Any, why: str) -> None:
    found = roles.why_not(user, attempt, before=before, after=after)
    assert found.startswith(why) if why else found == ""
    if why:
        with pytest.raises(Refused, match="is forbidden"):
            roles.require_content(user, attempt, before=before, after=after)


def test_of_a_controllers_node_only_the_heartbeat() -> None:
    def ready(at: str, status: str = "True") -> dict[str, Any]:
        condition = {"type": "Ready", "status": status, "reason": "KubeletReady", "lastHeartbeatTime": at}
        return node("web9", status={"conditions": [condition]})

    attempt = nodes("update", "web9", "status")
    assert roles.why_not(SITE, attempt, before=ready("1"), after=ready("2")) == ""
    assert roles.why_not(SITE, attempt, before=ready("1"), after=ready("2", "False"))


def test_users_of_certificates_and_of_the_machine() -> None:
    assert of_certificate("root", ["system:masters"]).role == "admin"
    kubelet = of_certificate("system:node:web1", ["system:nodes"])
    assert (kubelet.role, kubelet.node) == ("agent", "web1")
    assert of_certificate("system:node:web1", []).role is None
    assert of_certificate("system:node:", ["system:nodes"]).role is None
    assert of_certificate("x", ["k3:agents"]).role == "agent"
    assert of_certificate("x", ["k3:viewers"]).role == "view"
    assert of_local("alice", may_write=False).role == "view"
    assert of_token("0123456789", "admin", "").info() == {
        "username": "k3:admin:0123456789",
        "groups": ["system:masters", "system:authenticated"],
    }
