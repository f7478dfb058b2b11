"""The requests of a Kubernetes API: which path, what is asked, and the words in which a person is told of it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

from k3.core.objects import Key, Kind, Manifest
from k3.core.records import dataclass

Verb = Literal["get", "list", "watch", "create", "update", "delete"]
"""As roles name them."""

METHODS: Final[Mapping[Verb, str]] = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "delete": "DELETE",
}
WRITES: Final = frozenset({"create", "update", "delete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request."""

    verb: Verb
    resource: str
    """As roles name it: `nodes`, `nodes/status`."""
    path: str
    """Behind the server's own prefix, with the query."""
    name: str = ""
    """Of the object; empty: it is about all of them."""
    body: bytes = field(default=b"", repr=False)

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.verb in WRITES


def collection(kind: Kind, namespace: str = "") -> str:
    """Returns the path of all objects of a kind, or of those in a namespace."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace and kind.namespaced else ""
    return f"{root}{place}/{kind.plural}"


def get(key: Key) -> Ask:
    """Returns the request for one object."""
    return Ask(verb="get", resource=key.kind.plural, path=_path(key), name=key.name)


def listed(kind: Kind, namespace: str, **parameters: str) -> Ask:
    """Returns the request for a page of a list."""
    path = f"{collection(kind, namespace)}?{urlencode(parameters)}"
    return Ask(verb="list", resource=kind.plural, path=path)


def watched(kind: Kind, **parameters: str) -> Ask:
    """Returns the request for the changes of a kind, in all namespaces."""
    query = urlencode({"watch": "1", **parameters})
    return Ask(verb="watch", resource=kind.plural, path=f"{collection(kind)}?{query}")


def created(key: Key, body: bytes) -> Ask:
    """Returns the request to create an object."""
    return Ask(verb="create", resource=key.kind.plural, path=collection(key.kind, key.namespace), name=key.name, body=body)


def replaced(key: Key, body: bytes, *, part: str = "") -> Ask:
    """Returns the request to replace an object, or a part of it: `status`."""
    tail = f"/{part}" if part else ""
    return Ask(verb="update", resource=f"{key.kind.plural}{tail}", path=f"{_path(key)}{tail}", name=key.name, body=body)


def deleted(key: Key, *, revision: int | None, uid: str | None) -> Ask:
    """Returns the request to delete an object; given a revision or uid, only that one."""
    expected = {"uid": uid, "resourceVersion": None if revision is None else str(revision)}
    preconditions = {name: value for name, value in expected.items() if value is not None}
    options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if preconditions:
        options["preconditions"] = preconditions
    return Ask(verb="delete", resource=key.kind.plural, path=_path(key), name=key.name, body=json.dumps(options).encode())


STORE_ID: Final = Ask(verb="get", resource="namespaces", path="/api/v1/namespaces/kube-system", name="kube-system")
"""A cluster has no id of its own; that of this namespace lives as long as the cluster does."""


def _path(key: Key) -> str:
    return f"{collection(key.kind, key.namespace)}/{quote(key.name, safe='')}"


def matches(details: Any, ask: Ask) -> bool:  # noqa: ANN401 - JSON
    """Whether a Status' details are about the very object that was asked for."""
    plural = ask.resource.partition("/")[0]
    return isinstance(details, dict) and details.get("name") == ask.name and details.get("kind") in {plural, None}
