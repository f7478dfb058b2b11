"""What a client asks about rights, answered from the table in `roles`: from a review's spec to its status. Pure.

The fields are those of authorization.k8s.io/v1 and authentication.k8s.io/v1. A spec comes from outside: what is odd in it reads
as absent, since its types were checked when its body was read.
"""

import json
from dataclasses import replace
from typing import Any, Final

from k3.core.objects import Kind, Manifest
from k3.server.access import roles
from k3.server.access.identity import User, of_certificate
from k3.server.access.roles import Attempt, Rule
from k3.server.access.tokens import Token
from k3.server.status import Cause, bad_request, invalid

_AUTHORIZATION: Final = Kind(group="authorization.k8s.io", version="v1", name="", plural="", namespaced=False)
"""Kubernetes names the group alone where it refuses a review."""


def self_subject(user: User) -> Manifest:
    """Returns the status of a SelfSubjectReview: who asks."""
    return {"userInfo": user.info()}


def self_access(user: User, spec: Manifest) -> Manifest:
    """Returns the status of a SelfSubjectAccessReview: whether the user may do this. Raises Refused (422)."""
    if causes := _causes(spec):
        raise invalid(_AUTHORIZATION, "", causes)
    return {"allowed": roles.may(user, _attempt(spec))}


def self_rules(user: User, spec: Manifest) -> Manifest:
    """Returns the status of a SelfSubjectRulesReview: what the user may do in a namespace, and with what is in none.

    Raises Refused (400) where it names none.
    """
    namespace = _text(spec, "namespace")
    if not namespace:
        raise bad_request(_NO_NAMESPACE)
    shown = [_shown(rule) for rule in roles.rules(user) if rule.namespace in {"", namespace}]
    verbs = [roles.ANY] if user.role == "admin" else ["get"]
    return {
        "resourceRules": shown,
        "nonResourceRules": [{"verbs": verbs, "nonResourceURLs": list(roles.paths(user))}],
        "incomplete": any(rule.prefix for rule in roles.rules(user)),
    }


def access(spec: Manifest) -> Manifest:
    """Returns the status of a SubjectAccessReview: whether the user that it names may do this. Raises Refused (422).

    What a token's user may do is told by its name and groups, as those are all that such a review has.
    """
    causes, name = _causes(spec), _text(spec, "user")
    groups = spec.get("groups")
    named = [each for each in groups if isinstance(each, str)] if isinstance(groups, list) else []
    if not name and not named:
        why = 'Invalid value: "": at least one of user or group must be specified'
        causes.append(Cause("FieldValueInvalid", why, "spec.user"))
    if causes:
        raise invalid(_AUTHORIZATION, "", causes)
    about = replace(of_certificate(name, named), groups=tuple(named))
    return {"allowed": roles.may(about, _attempt(spec))}


def token_of(spec: Manifest) -> str:
    """Returns the token that a TokenReview asks about. Raises Refused (400) where it names none."""
    text = _text(spec, "token")
    if not text:
        raise bad_request(_NO_TOKEN)
    return text


def token(found: Token | None) -> Manifest:
    """Returns the status of a TokenReview of a token that was `found` to hold; None: it does not."""
    if found is None:
        return {"user": {}, "error": "invalid bearer token"}
    return {"authenticated": True, "user": found.user().info()}


def _causes(spec: Manifest) -> list[Cause]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict) != isinstance(path, dict):
        return []
    shown = {name: _text(path, name.lower()) for name in ("Path", "Verb")} if isinstance(path, dict) else None
    value = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
    why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    return [Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", "spec")]


def _attempt(spec: Manifest) -> Attempt:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(path, dict):
        return Attempt(verb=_text(path, "verb"), path=_text(path, "path") or "/")
    about: dict[str, Any] = resource if isinstance(resource, dict) else {}
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attempt(**{name: _text(about, name) for name in fields})


_NO_TOKEN: Final = "token is required for TokenReview in authentication"  # noqa: S105 - a message
_NO_NAMESPACE: Final = "no namespace on request"


def _shown(rule: Rule) -> Manifest:
    shown = {"verbs": list(rule.verbs), "apiGroups": list(rule.groups), "resources": list(rule.resources)}
    return {**shown, "resourceNames": list(rule.names)} if rule.names else shown


def _text(spec: Manifest, name: str) -> str:
    value = spec.get(name)
    return value if isinstance(value, str) else ""
