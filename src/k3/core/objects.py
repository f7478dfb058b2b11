"""Keys and objects: what a store holds, whatever the kind.

An `Object` carries its document as immutable bytes and hands out a fresh manifest on every call, so no reader can
change what another reader, or the store itself, holds.

`metadata.resourceVersion` is never part of a document: it is the store's revision, overlaid when a manifest is read.
`uid` and `creationTimestamp` are overlaid only where the document (written by another program) lacks them; writing back
with `Object.with_manifest` leaves those three as they were found.

Pure.
"""

from dataclasses import replace
from typing import Any, Final, Self, TypeAlias

from k3.core import documents, limits
from k3.core.errors import Invalid, TooLarge
from k3.core.records import dataclass

Manifest: TypeAlias = documents.Manifest


def copied(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A deep copy of parsed JSON; `copy.deepcopy`, which is ready for anything, takes ten times as long."""
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A Kubernetes group, version and kind."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """As written in a manifest: `v1`, `coordination.k8s.io/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


NODE: Final = Kind(group="", version="v1", name="Node", plural="nodes", namespaced=False)
EVENT: Final = Kind(group="", version="v1", name="Event", plural="events", namespaced=True)
LEASE: Final = Kind(group="coordination.k8s.io", version="v1", name="Lease", plural="leases", namespaced=True)
TOKEN: Final = Kind(group="k3", version="v1", name="Token", plural="tokens", namespaced=False)
"""A token of the Kubernetes API, hashed (`server/access/tokens.py`): kept beside the others, and never served (ADR 52)."""
KINDS: Final = (NODE, EVENT, LEASE, TOKEN)
"""All that a store of k3's holds: what is checked, copied and found by its path."""


@dataclass(frozen=True, slots=True)
class Key:
    """Where an object lives. A cluster-wide kind has no namespace; one given is dropped."""

    kind: Kind
    name: str
    namespace: str = ""

    def __post_init__(self) -> None:
        """Drop the namespace of a kind that has none."""
        if not self.kind.namespaced and self.namespace:
            object.__setattr__(self, "namespace", "")

    @property
    def path(self) -> str:
        """`/<group>/<version>/<Kind>/[<namespace>/]<name>`; ordering of lists follows it."""
        middle = f"{self.namespace}/" if self.kind.namespaced else ""
        return f"{kind_prefix(self.kind)}{middle}{self.name}"

    def __str__(self) -> str:
        """`Node web1`, `Event default/web1.3`."""
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind.name} {where}{self.name}"


def kind_prefix(kind: Kind, namespace: str = "") -> str:
    """The path every object of a kind (and of one namespace, if given) starts with. Ends in `/`."""
    tail = f"{namespace}/" if namespace and kind.namespaced else ""
    return f"/{kind.group}/{kind.version}/{kind.name}/{tail}"


def key_from_path(path: str) -> Key | None:
    """The inverse of `Key.path` for the kinds k3 knows; None for anything else."""
    for kind in KINDS:
        prefix = kind_prefix(kind)
        if path.startswith(prefix):
            parts = path[len(prefix) :].split("/")
            if all(parts) and len(parts) == (2 if kind.namespaced else 1):
                return Key(kind, parts[-1], parts[0] if kind.namespaced else "")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """One stored object at one revision."""

    key: Key
    uid: str
    revision: int
    document: bytes
    created: str = ""
    """RFC 3339; overlaid where the document has no creationTimestamp of its own."""

    @property
    def unreadable(self) -> str:
        """Why the document cannot be read; empty: it can."""
        return documents.why_unreadable(self.document)

    def manifest(self) -> Manifest:
        """A fresh copy as a Kubernetes client sees it; of what cannot be read, a stand-in that says so."""
        try:
            manifest = documents.decode(self.document)
        except ValueError as odd:
            manifest = documents.stand_in(str(odd)) if self.key.kind == NODE else {}
        return self._overlaid(manifest)

    def _overlaid(self, manifest: Manifest) -> Manifest:
        """Overlays a decoded document with what the store says; its metadata is copied first."""
        manifest.setdefault("apiVersion", self.key.kind.api_version)
        manifest.setdefault("kind", self.key.kind.name)
        metadata = manifest["metadata"] = dict(manifest.get("metadata") or {})
        metadata["name"] = self.key.name
        if self.key.namespace:
            metadata["namespace"] = self.key.namespace
        metadata["uid"] = self.uid
        metadata["resourceVersion"] = str(self.revision)
        if self.created and not metadata.get("creationTimestamp"):
            metadata["creationTimestamp"] = self.created
        return manifest

    def with_manifest(self, manifest: Manifest) -> Self:
        """The object with new content, still at the revision that was read.

        What was overlaid on reading is taken off again, and an unchanged manifest gives back the very same bytes.
        Raises Invalid for one that cannot be read: nothing of it would be kept.
        """
        try:
            stored = documents.decode(self.document)
        except ValueError as odd:
            if documents.same_json(manifest, self.manifest()):
                return self
            msg = f"{self.key} cannot be read ({odd}), and is not written over: repair it, or remove it"
            raise Invalid(msg) from odd
        found = stored.get("metadata") or {}
        if documents.same_json(manifest, self._overlaid(stored)):
            return self
        metadata = dict(manifest.get("metadata") or {})
        for name in ("uid", "resourceVersion", "creationTimestamp"):
            metadata.pop(name, None)
            if name in found:
                metadata[name] = found[name]
        return replace(self, document=documents.encode({**manifest, "metadata": metadata}))


def new_document(key: Key, manifest: Manifest, *, uid: str, created: str) -> bytes:
    """The document of an object about to be created: typed, named, with its uid, without a resourceVersion."""
    metadata = dict(manifest.get("metadata") or {})
    metadata.pop("resourceVersion", None)
    metadata |= {"name": key.name, "uid": uid, "creationTimestamp": created}
    if key.namespace:
        metadata["namespace"] = key.namespace
    body = {name: value for name, value in manifest.items() if name not in {"apiVersion", "kind", "metadata"}}
    return documents.encode({"apiVersion": key.kind.api_version, "kind": key.kind.name, "metadata": metadata, **body})


def check_size(key: Key, document: bytes) -> None:
    """Raises TooLarge for a document that is larger than an object may be."""
    if len(document) > limits.OBJECT_BYTES:
        msg = f"{key} is {len(document)} bytes; at most {limits.OBJECT_BYTES} are stored"
        raise TooLarge(msg)
