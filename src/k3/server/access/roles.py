"""What each role may do: one table, by which requests are decided and reviews are answered. Pure.

It is read in two steps, as Kubernetes does with authorization and admission. `may` is asked before anything is looked up, so
that a request without rights does not learn whether an object exists. `why_not` is asked with the object as it is and as it is
to be, by agents only, who may read all of them.

The agent of one machine writes that machine's Node, its Lease and Events about it. The agent of a network gives verdicts about
the machines of others (design §5): it writes every Node that a source of k3 manages, and of a controller's Node the heartbeat
that discovery renews, nothing else.
"""

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from k3.core import limits, ownership
from k3.core.objects import Manifest, copied
from k3.core.records import dataclass
from k3.server.access.identity import User
from k3.server.status import Refused

READ: Final = ("get", "list", "watch")
CHANGE: Final = ("create", "delete", "patch", "update")
ANY: Final = "*"
_NODE_LEASES: Final = "kube-node-lease"
_AGENT_LEASES: Final = "kube-system"
_AGENT_LEASE_PREFIX: Final = "k3-"
_EVENTS: Final = "default"
_EVENT_NODE_CHARACTERS: Final = 240
"""Of a Node's name in that of an Event about it, as `agent/recorder.py` writes it."""
_EVENT_END: Final = re.compile(r"[0-9a-z-]+", re.ASCII)
"""What follows the name of the Node in that of an Event: a number of k3's, a time of client-go's, without a dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a request is about to do: Kubernetes' attributes. One of a path that is no resource has the path alone."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """Returns the resource as rules have it: `nodes`, `nodes/status`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is allowed: a verb on a resource; of some names or namespaces only, where these are given."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = (ANY,)
    resources: tuple[str, ...] = (ANY,)
    names: tuple[str, ...] = ()
    prefix: str = ""
    """What a name must begin with."""
    namespace: str = ""

    def allows(self, attempt: Attempt) -> bool:
        """Whether this rule allows it. The name of what is to be created is in the body, and asked for by `why_not`."""
        return (
            _is_in(attempt.verb, self.verbs)
            and _is_in(attempt.group, self.groups)
            and _is_in(attempt.full_resource, self.resources)
            and self.namespace in {"", attempt.namespace}
            and (self._fits(attempt.name) or (attempt.verb == "create" and not attempt.name))
        )

    def _fits(self, name: str) -> bool:
        return (not self.names or name in self.names) and name.startswith(self.prefix)


_SELF_REVIEWS: Final = (
    Rule(
        verbs=("create",),
        groups=("authorization.k8s.io",),
        resources=("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    ),
    Rule(verbs=("create",), groups=("authentication.k8s.io",), resources=("selfsubjectreviews",)),
)
_REVIEWS: Final = (
    Rule(
        verbs=("create",),
        groups=("authorization.k8s.io",),
        resources=("localsubjectaccessreviews", "subjectaccessreviews"),
    ),
    Rule(verbs=("create",), groups=("authentication.k8s.io",), resources=("tokenreviews",)),
)
"""What a kubelet asks about those who come to it."""
_VIEW: Final = (*_SELF_REVIEWS, Rule(verbs=READ))
_ADMIN: Final = (Rule(verbs=(ANY,)),)
_AGENT: Final = (
    *_VIEW,
    Rule(verbs=CHANGE, groups=("",), resources=("nodes",)),
    Rule(verbs=("patch", "update"), groups=("",), resources=("nodes/status",)),
    Rule(
        verbs=CHANGE,
        groups=("coordination.k8s.io",),
        resources=("leases",),
        prefix=_AGENT_LEASE_PREFIX,
        namespace=_AGENT_LEASES,
    ),
    Rule(verbs=("create", "patch", "update"), groups=("",), resources=("events",), namespace=_EVENTS),
)

PUBLIC_PATHS: Final = ("/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/")
"""What everybody may get, as with Kubernetes' role `system:public-info-viewer`."""
KNOWN_PATHS: Final = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *PUBLIC_PATHS)
"""What every user who is known may get: kubectl says no more than `unknown` where discovery is refused."""
_PATH_VERBS: Final = ("get", "head", "options")


def rules(user: User) -> tuple[Rule, ...]:
    """Returns what a user may do with resources."""
    if user.role == "admin":
        return _ADMIN
    if user.role == "agent":
        return _agent_of(user.node) if user.node else _AGENT
    if user.role == "view":
        return _VIEW
    return _SELF_REVIEWS if user.is_known else ()


@lru_cache(maxsize=limits.ORIGINS)
def _agent_of(node: str) -> tuple[Rule, ...]:
    return (
        *_VIEW,
        *_REVIEWS,
        Rule(verbs=CHANGE, groups=("",), resources=("nodes",), names=(node,)),
        Rule(verbs=("patch", "update"), groups=("",), resources=("nodes/status",), names=(node,)),
        Rule(verbs=CHANGE, groups=("coordination.k8s.io",), resources=("leases",), names=(node,), namespace=_NODE_LEASES),
        Rule(
            verbs=("create", "patch", "update"),
            groups=("",),
            resources=("events",),
            prefix=_event_prefix(node),
            namespace=_EVENTS,
        ),
    )


def paths(user: User) -> tuple[str, ...]:
    """Returns the paths that are no resources and that a user may get; one that ends in `*` stands for all below."""
    if user.role is not None:
        return (ANY,)
    return KNOWN_PATHS if user.is_known else PUBLIC_PATHS


def may(user: User, attempt: Attempt) -> bool:
    """Whether a user may do this, as far as can be told before anything is looked up."""
    if attempt.path:
        verb_fits = attempt.verb in _PATH_VERBS or user.role == "admin"
        return verb_fits and any(_is_path(attempt.path, each) for each in paths(user))
    return any(rule.allows(attempt) for rule in rules(user))


def require(user: User, attempt: Attempt) -> None:
    """Raises Refused (403) where a user may not do this."""
    if not may(user, attempt):
        raise forbidden(user, attempt)


def require_content(user: User, attempt: Attempt, *, before: Manifest | None, after: Manifest | None) -> None:
    """Raises Refused (403) where a user may not write this: `before` is None where nothing is there, `after` for a delete.

    `after` is named, whoever named it; `attempt` is as it was for `require`.
    """
    if why := why_not(user, attempt, before=before, after=after):
        name = attempt.name or _name_of(after)
        raise _refused(attempt, name, why)


def why_not(user: User, attempt: Attempt, *, before: Manifest | None, after: Manifest | None) -> str:
    """Returns why a user may not write this; empty: it may."""
    if user.role != "agent":
        return ""
    name = attempt.name or _name_of(after)
    named = attempt if attempt.name else replace(attempt, name=name)
    if not may(user, named):
        return _own_only(user, named) or _sentence(user, named)
    match attempt.resource:
        case "nodes" if not user.node:
            return _why_no_node(name, before, after)
        case "events":
            return next((why for each in (before, after) if each is not None and (why := _why_no_event(user, name, each))), "")
    return ""


def forbidden(user: User, attempt: Attempt) -> Refused:
    """Returns the refusal of what `may` does not allow, in Kubernetes' words."""
    if attempt.path:
        return Refused(403, f"forbidden: {_sentence(user, attempt)}", details={})
    return _refused(attempt, attempt.name, _own_only(user, attempt) or _sentence(user, attempt))


def _refused(attempt: Attempt, name: str, why: str) -> Refused:
    resource = f"{attempt.resource}.{attempt.group}" if attempt.group else attempt.resource
    about = f'{resource} "{name}"' if name else resource
    details = {"name": name, "group": attempt.group, "kind": attempt.resource}
    return Refused(403, f"{about} is forbidden: {why}", details={key: text for key, text in details.items() if text})


def _sentence(user: User, attempt: Attempt) -> str:
    """Returns what is forbidden; as with Kubernetes, nothing in it is taken for HTML."""
    said = _quoted(user.name)
    if attempt.path:
        text = f"User {said} cannot {attempt.verb} path {_quoted(attempt.path)}"
    else:
        what = f"resource {_quoted(attempt.full_resource)} in API group {_quoted(attempt.group)}"
        where = f"in the namespace {_quoted(attempt.namespace)}" if attempt.namespace else "at the cluster scope"
        text = f"User {said} cannot {attempt.verb} {what} {where}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _own_only(user: User, attempt: Attempt) -> str:
    """Returns how Kubernetes refuses a kubelet what it may do with its own Node only; empty: this is something else."""
    if not user.node or not may(user, replace(attempt, name=user.node)):
        return ""
    match attempt.resource:
        case "nodes" if attempt.verb != "delete":
            return f"node {_quoted(user.node)} is not allowed to modify node {_quoted(attempt.name)}"
        case "leases":
            return "can only access node lease with the same name as the requesting node"
    return ""


def _why_no_node(name: str, before: Manifest | None, after: Manifest | None) -> str:
    """Returns why the agent of a network may not write this Node."""
    for manifest in (before, after):
        if manifest is not None and ownership.owner(manifest) is None:
            if before is not None and after is not None and _without_heartbeat(before) == _without_heartbeat(after):
                return ""
            return f"agents write the Nodes that k3 manages, and node {_quoted(name)} is none"
    return ""


def _without_heartbeat(manifest: Manifest) -> str:
    """Returns a Node without what discovery renews on one of a controller's, and without what every write changes."""
    shown = copied(manifest)
    metadata = shown.get("metadata")
    for field in ("managedFields", "resourceVersion") if isinstance(metadata, dict) else ():
        metadata.pop(field, None)
    status = shown.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, dict) and each.get("type") == "Ready":
            each.pop("lastHeartbeatTime", None)
    return json.dumps(shown, sort_keys=True)


def _why_no_event(user: User, name: str, manifest: Manifest) -> str:
    """Returns why an agent may not write this Event: it is about a Node, its own if it has one, and named for that."""
    about = manifest.get("involvedObject")
    kind, node = (about.get("kind"), about.get("name")) if isinstance(about, dict) else (None, None)
    if kind != "Node" or not isinstance(node, str) or node != (user.node or node):
        which = f"node {_quoted(user.node)}" if user.node else "nodes"
        return f"agents write events about {which} only"
    prefix = _event_prefix(node)
    if not name.startswith(prefix) or not _EVENT_END.fullmatch(name, len(prefix)):
        return f"the name of an event about node {_quoted(node)} begins with its name and one dot"
    return ""


def _event_prefix(node: str) -> str:
    return f"{node[:_EVENT_NODE_CHARACTERS]}."


def _name_of(manifest: Manifest | None) -> str:
    metadata: Any = (manifest or {}).get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _is_in(word: str, words: tuple[str, ...]) -> bool:
    return ANY in words or word in words


def _is_path(path: str, pattern: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith(ANY) else path == pattern


def _quoted(text: str) -> str:
    """Returns a text as Go's %q has it, for all that a name of Kubernetes or a path may hold."""
    quoted = json.dumps(text[: limits.LOG_VALUE_CHARACTERS], ensure_ascii=False)
    return quoted.encode(errors="backslashreplace").decode()
