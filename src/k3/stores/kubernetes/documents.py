"""Answers of a Kubernetes API as objects of k3, and objects as the bodies of requests. Pure.

An answer is held to what the API promises: a kind, a name, a uid, a resourceVersion that is a whole number (as it is where
objects are kept in one etcd, and for k3's server), all of the right types. One that breaks this is none of Kubernetes', and is
refused as a whole: `Odd` says why.

An object's document is what the server gave, without `managedFields`: the server keeps them, whether or not they are sent back.
"""

from typing import Any, Final

from k3.core import limits
from k3.core.documents import DECODER, encode, is_too_deep
from k3.core.errors import Invalid
from k3.core.objects import EVENT, LEASE, NODE, Key, Kind, Manifest, Object, check_size
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.core.store import Bookmark, Change, ChangeType
from k3.stores.log.writes import is_storable

SERVED: Final = (NODE, EVENT, LEASE)
"""The kinds that a Kubernetes API has. What else k3 keeps in a store is for the process that has that store."""

_TYPES: Final[dict[str, ChangeType]] = {"ADDED": "ADDED", "MODIFIED": "MODIFIED", "DELETED": "DELETED"}
_REVISION_DIGITS: Final = 19
_BY_THE_SERVER: Final = ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation", "selfLink")
"""Metadata that a server sets, and that a new object does not bring along."""


class Odd(ValueError):
    """An answer that is none of a Kubernetes API; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One answer to a list: `token` asks for the rest; empty: this was the last."""

    objects: tuple[Object, ...]
    revision: int
    token: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The ERROR event of a watch: the Status in it."""

    status: Manifest


def parse(body: bytes) -> Manifest:
    """Returns the JSON object that an answer is. Raises Odd."""
    try:
        found = DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        found = None
    # Which depth is an error by itself depends on the Python.
    if not isinstance(found, dict) or is_too_deep(found, body.count(b"{") + body.count(b"[")):
        msg = (
            f"it is no JSON object but begins with {printable(body[:40].decode('utf-8', 'replace'))!r}"
            if body
            else "it is empty"
        )
        raise Odd(msg)
    return found


def read_object(found: object, kind: Kind) -> Object:
    """Returns one object. Raises Odd."""
    if not isinstance(found, dict):
        msg = f"a {kind.name} in it is no object"
        raise Odd(msg)
    if found.get("kind", kind.name) != kind.name:
        msg = f"it holds a {printable(str(found.get('kind')), limit=40)} instead of a {kind.name}"
        raise Odd(msg)
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        msg = f"a {kind.name} in it has no metadata"
        raise Odd(msg)
    name, namespace, uid = (metadata.get(each, "") for each in ("name", "namespace", "uid"))
    key = Key(kind, name, namespace) if isinstance(name, str) and isinstance(namespace, str) else None
    if key is None or not is_name(key):
        msg = f"a {kind.name} in it has no name that can be one"
        raise Odd(msg)
    if not isinstance(uid, str) or not 0 < len(uid) <= limits.UID_CHARACTERS or not uid.isprintable():
        msg = f"{key} has no uid"
        raise Odd(msg)
    created = metadata.get("creationTimestamp")
    return Object(
        key=key,
        uid=uid,
        revision=revision_of(metadata, str(key)),
        document=_document(kind, found, metadata),
        created=created if isinstance(created, str) else "",
    )


def read_list(found: Manifest, kind: Kind) -> Listed:
    """Returns one answer to a list. Raises Odd."""
    if found.get("kind") != f"{kind.name}List":
        msg = f"it is a {printable(str(found.get('kind')), limit=40)} and no {kind.name}List"
        raise Odd(msg)
    metadata, items = found.get("metadata"), found.get("items") or []
    if not isinstance(metadata, dict) or not isinstance(items, list):
        msg = f"the {kind.name}List has no metadata, or its items are no list"
        raise Odd(msg)
    token = metadata.get("continue") or ""
    if not isinstance(token, str) or len(token) > limits.KUBERNETES_TOKEN_CHARACTERS:
        msg = "the token for its next page is none"
        raise Odd(msg)
    revision = revision_of(metadata, f"the {kind.name}List", least=0)
    return Listed(tuple(read_object(each, kind) for each in items), revision, token)


def read_event(line: bytes, kind: Kind) -> Change | Bookmark | Refusal:
    """Returns what one line of a watch says. Raises Odd."""
    event = parse(line)
    type_, found = event.get("type"), event.get("object")
    if not isinstance(found, dict):
        msg = "an event in it has no object"
        raise Odd(msg)
    if type_ == "ERROR":
        return Refusal(found)
    if type_ == "BOOKMARK":
        metadata = found.get("metadata")
        return Bookmark(revision_of(metadata if isinstance(metadata, dict) else {}, "a bookmark", least=0))
    if not isinstance(type_, str) or type_ not in _TYPES:
        msg = f"it has an event of type {printable(str(type_), limit=40)}"
        raise Odd(msg)
    return Change(_TYPES[type_], read_object(found, kind))


def revision_of(metadata: Manifest, whose: str, *, least: int = 1) -> int:
    """Returns a resourceVersion as the number that it is. Raises Odd."""
    text = metadata.get("resourceVersion")
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= _REVISION_DIGITS and int(text) >= least:
        return int(text)
    msg = f"the resourceVersion of {whose} is {printable(str(text), limit=40)!r} and no number: k3 needs one that counts writes"
    raise Odd(msg)


def is_name(key: Key) -> bool:
    """Whether an API can have an object of this key; `.` and `..` would be steps of the path."""
    return key.kind in SERVED and is_storable(key) and not {key.name, key.namespace} & {".", ".."}


def new_body(key: Key, manifest: Manifest) -> bytes:
    """Returns the body that creates an object. Raises Invalid, TooLarge."""
    if key.kind not in SERVED:
        msg = f"{key} cannot be made through a Kubernetes API, which has no such kind: do it at the hub's own store"
        raise Invalid(msg)
    if not is_name(key):
        msg = f"{str(key)!r} cannot be stored: a name is 1 to {limits.NAME_BYTES} printable ASCII characters without '/'"
        raise Invalid(msg)
    metadata = dict(manifest.get("metadata") or {})
    for name in _BY_THE_SERVER:
        metadata.pop(name, None)
    return body_of(key, manifest, metadata)


def update_body(item: Object, manifest: Manifest, *, revision: int) -> bytes:
    """Returns the body that replaces an object on condition of its uid and of a revision. Raises Invalid, TooLarge."""
    metadata = {**(manifest.get("metadata") or {}), "uid": item.uid, "resourceVersion": str(revision)}
    return body_of(item.key, manifest, metadata)


def body_of(key: Key, manifest: Manifest, metadata: Manifest) -> bytes:
    """Returns an object as a body: typed, named, with this metadata. Raises Invalid, TooLarge."""
    metadata |= {"name": key.name}
    if key.namespace:
        metadata["namespace"] = key.namespace
    try:
        body = encode({**manifest, "apiVersion": key.kind.api_version, "kind": key.kind.name, "metadata": metadata})
    except (TypeError, ValueError, RecursionError) as odd:
        msg = f"{key} cannot be written as JSON: {odd}"
        raise Invalid(msg) from odd
    check_size(key, body)
    return body


def _document(kind: Kind, found: Manifest, metadata: Manifest) -> bytes:
    """Returns an object's document: the same whether it came alone, in a list (which leaves the kind out) or in a watch."""
    kept = {name: value for name, value in metadata.items() if name not in {"resourceVersion", "managedFields"}}
    rest = {name: value for name, value in found.items() if name not in {"apiVersion", "kind", "metadata"}}
    try:
        return encode({"apiVersion": kind.api_version, "kind": kind.name, "metadata": kept, **rest})
    except (TypeError, ValueError, RecursionError) as odd:
        msg = f"a {kind.name} in it cannot be read: {printable(str(odd), limit=80)}"
        raise Odd(msg) from None


def same_metadata(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether two objects have the same metadata, as far as writers set it."""
    names = ("labels", "annotations", "finalizers", "ownerReferences")
    return all(((one or {}).get(name) or None) == ((other or {}).get(name) or None) for name in names)
