"""From a request's path to what it is about. Pure.

    /api/v1/nodes/web1/status
    /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/web1
    /api/v1/watch/nodes                                                    an old form of ?watch=true

A path is taken apart before its segments are decoded, so a name can hide no slash. What has an empty segment, `.` or `..` in
it is no path of the API's.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from k3.core.records import dataclass
from k3.server.resources import RESOURCES, Resource

_BY_PATH: Final = {(each.kind.group, each.kind.version, each.kind.plural): each for each in RESOURCES}
_VERSIONS: Final = {(group, version) for group, version, _ in _BY_PATH}
_OBJECT: Final = 2
_SUBRESOURCE: Final = 3
_KEPT_CHARACTERS: Final = 512
"""No path of an object is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about: all objects of a resource, those of a namespace, or one."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    is_watch: bool = False


def segments(raw_path: str) -> tuple[str, ...] | None:
    """Returns a path's decoded segments; a slash at the end changes nothing. None where it is no plain path."""
    parts = raw_path.removeprefix("/").removesuffix("/").split("/")
    if parts == [""]:
        return ()
    try:
        found = tuple(unquote(part, errors="strict") for part in parts)
    except UnicodeDecodeError:
        return None
    return None if any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in found) else found


def place(raw_path: str) -> tuple[tuple[str, ...] | None, Target | None]:
    """Returns the segments of a path, and what it is about: one that came lately is not taken apart again."""
    return (_place if len(raw_path) <= _KEPT_CHARACTERS else _place.__wrapped__)(raw_path)


@lru_cache(maxsize=4_096)
def _place(raw_path: str) -> tuple[tuple[str, ...] | None, Target | None]:
    path = segments(raw_path)
    return path, None if path is None else target(path)


def target(path: Sequence[str]) -> Target | None:
    """Returns what a path of resources is about; None where nothing is served there."""
    match list(path):
        case ["api", version, *rest]:
            return _target("", version, rest)
        case ["apis", group, version, *rest] if group:
            return _target(group, version, rest)
    return None


def _target(group: str, version: str, rest: list[str]) -> Target | None:
    if (group, version) not in _VERSIONS or not rest:
        return None
    if rest[0] == "watch" and len(rest) > 1:
        found = _target(group, version, rest[1:])
        return None if found is None or found.subresource else replace(found, is_watch=True)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > _OBJECT:
        inner = _BY_PATH.get((group, version, rest[2]))
        if inner is not None and inner.kind.namespaced:
            namespace, rest = rest[1], rest[2:]
    resource = _BY_PATH.get((group, version, rest[0]))
    if resource is None or len(rest) > _SUBRESOURCE:
        return None
    name = rest[1] if len(rest) >= _OBJECT else ""
    subresource = rest[2] if len(rest) == _SUBRESOURCE else ""
    if (name and resource.kind.namespaced and not namespace) or (subresource and subresource not in resource.subresources):
        return None
    return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)
