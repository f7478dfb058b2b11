"""Keys and values in etcd as keys and objects of k3, and back. Other programs write there too, and what they wrote is kept.

    <prefix>/<group>/<version>/<Kind>/[<namespace>/]<name>    one object: a JSON manifest
    <prefix>/k3/...                                           k3's own notes

k3 writes no uid into a manifest. It is made of the store's id, the key and the revision the key was created at, so it stays the
same whoever writes the object, with or without it, and a key created again has another. A manifest that carries one (Kubernetes
wrote it) keeps it. What cannot be read as a manifest is reported once and then passed over. No I/O but the log.
"""

import functools
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from k3.core import limits
from k3.core.documents import decode, encode
from k3.core.errors import Invalid
from k3.core.objects import Key, Kind, Manifest, Object, check_size, key_from_path, kind_prefix
from k3.core.safe_text import printable
from k3.core.store import Change
from k3.core.times import timestamp
from k3.stores.etcd import messages
from k3.stores.etcd.messages import Message
from k3.stores.log.writes import is_storable

log = logging.getLogger(__name__)


def metadata_of(document: bytes) -> Manifest:
    """Returns the metadata of a manifest. Raises ValueError for a document that cannot be read."""
    return decode(document).get("metadata") or {}


def _may_have_uid(document: bytes) -> bool:
    """Returns whether a manifest has a uid of its own; of one that cannot be read that is not known."""
    try:
        return _is_uid(metadata_of(document).get("uid"))
    except ValueError:
        return True


class Documents:
    """Reads and names what lies under one prefix, for the store with one id."""

    def __init__(self, prefix: str, store_id: UUID) -> None:
        self.store_id = store_id
        self._prefix = prefix
        self._reported: set[bytes] = set()

    def path(self, key: Key) -> bytes:
        """Returns the etcd key of an object, whose own key is a storable one."""
        return f"{self._prefix}{key.path}".encode()

    def span(self, kind: Kind, namespace: str = "") -> tuple[bytes, bytes]:
        """Returns the first etcd key of a kind, or of a namespace, and the first one behind them."""
        start = f"{self._prefix}{kind_prefix(kind, namespace)}".encode()
        return start, messages.prefix_end(start)

    def made(self, key: Key, document: bytes, *, revision: int, create_revision: int, metadata: Manifest) -> Object:
        """Returns the object that a document describes."""
        created = metadata.get("creationTimestamp")
        uid: str = metadata["uid"] if _is_uid(metadata.get("uid")) else self._uid(key, create_revision)
        return Object(
            key=key, uid=uid, revision=revision, document=document, created=created if isinstance(created, str) else ""
        )

    def updated(self, former: Object, document: bytes, *, metadata: Manifest, revision: int) -> Object | None:
        """Returns `former` with a new document. None: only a read tells, as another program's uid was left out."""
        if not _is_uid(metadata.get("uid")) and _may_have_uid(former.document):
            return None
        made = self.made(former.key, document, revision=revision, create_revision=0, metadata=metadata)
        return made if _is_uid(metadata.get("uid")) else replace(made, uid=former.uid)

    def read(self, kv: Message, *, revision: int = 0) -> Object | None:
        """Returns the object of a key and its value, as of its last change or of `revision`. None: the key is no object's.

        A value that cannot be read is an object all the same: readers show that it is there (`core.documents`).
        """
        key = self._key(kv.key)
        if key is None:
            return None
        document: bytes = kv.value
        try:
            metadata = metadata_of(document)
        except ValueError as odd:
            self._report(kv.key, str(odd))
            metadata = {}
        at = revision or kv.mod_revision
        return self.made(key, document, revision=at, create_revision=kv.create_revision, metadata=metadata)

    def change(self, event: Message) -> Change | None:
        """Returns what an event did to an object. None: to none. Raises LookupError where the state before is gone."""
        kv, revision = event.kv, event.kv.mod_revision
        if self._key(kv.key) is None:
            return None
        if event.type == messages.EVENT_DELETE:
            if not event.HasField("prev_kv"):
                raise LookupError
            former = self.read(event.prev_kv, revision=revision)
            return Change("DELETED", former) if former else None
        current = self.read(kv)
        return Change("ADDED" if kv.create_revision == revision else "MODIFIED", current) if current else None

    def _uid(self, key: Key, create_revision: int) -> str:
        return str(uuid5(self.store_id, f"{key.path}@{create_revision}"))

    def _key(self, path: bytes) -> Key | None:
        text = path.decode(errors="replace").removeprefix(self._prefix)
        key = key_from_path(text)
        if key and is_storable(key):
            return key
        self._report(path, "not the key of an object")
        return None

    def _report(self, path: bytes, why: str) -> None:
        if path not in self._reported and len(self._reported) < limits.ETCD_REPORTED:
            self._reported.add(path)
            fields = {"key": printable(path.decode(errors="replace")), "why": printable(why)}
            log.warning("etcd.not_an_object", extra={"fields": fields})


def new_document(key: Key, manifest: Manifest, *, now: float) -> tuple[bytes, str]:
    """Returns the document of an object about to be created at wall time `now` (seconds since 1970), and its creationTimestamp.

    Raises Invalid, TooLarge.
    """
    if not is_storable(key):
        msg = f"{str(key)!r} cannot be stored: a name is 1 to {limits.NAME_BYTES} printable ASCII characters without '/'"
        raise Invalid(msg)
    created = _second(int(now))
    try:
        metadata = dict(manifest.get("metadata") or {})
        for name in ("resourceVersion", "uid"):
            metadata.pop(name, None)
        metadata |= {"name": key.name, "creationTimestamp": created}
        if key.namespace:
            metadata["namespace"] = key.namespace
        body = {name: value for name, value in manifest.items() if name not in {"apiVersion", "kind", "metadata"}}
        document = encode({"apiVersion": key.kind.api_version, "kind": key.kind.name, "metadata": metadata, **body})
    except (TypeError, ValueError, RecursionError) as odd:
        msg = f"{key} cannot be written as JSON: {odd}"
        raise Invalid(msg) from odd
    check_size(key, document)
    return document, created


@functools.lru_cache(maxsize=1)
def _second(now: int) -> str:
    """Formats the time once per second: thousands may be created in one."""
    return timestamp(datetime.fromtimestamp(now, UTC))


def _is_uid(uid: Any) -> bool:  # noqa: ANN401 - whatever another program wrote there
    return isinstance(uid, str) and 0 < len(uid) <= limits.UID_CHARACTERS and uid.isascii() and uid.isprintable()
