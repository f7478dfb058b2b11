"""What stores hold: documents of every kind, rows of the SQL tables, messages of etcd."""

import asyncio
import atexit
import json
import random
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import DecodeError
from hypothesis import strategies as st

from k3.agent.lease import Leadership
from k3.core import documents, limits
from k3.core.documents import same_json
from k3.core.objects import EVENT, KINDS, LEASE, NODE, TOKEN, Key, Kind, Manifest, Object
from k3.core.store import Change
from k3.stores import connect
from k3.stores.check import Findings, check
from k3.stores.etcd import messages
from k3.stores.etcd.documents import Documents
from k3.stores.log import sql
from k3.stores.memory import MemoryStore
from k3.stores.sqlite import SqliteStorage
from tests.fuzz import making
from tests.fuzz.parser import Parser

STAMP: Final = "2026-11-27T01:02:03Z"
NODE_DOCUMENT: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "web",
        "uid": "u" * 8,
        "creationTimestamp": STAMP,
        "resourceVersion": "5",
        "labels": {
            "k3.network/managed": "true",
            "k3.network/discovered": "true",
            "node-role.kubernetes.io/worker": "",
            "t": "x",
        },
        "annotations": {
            "k3.network/id": "0" * 32,
            "k3.network/boot": "1" * 16,
            "k3.network/agent": "1" * 16,
            "k3.network/lastSeen": "2026-11-27T01:02:03.456Z",
            "k3.network/seen-by": "web2",
            "k3.network/seen-run": "2" * 16,
            "k3.network/port": "7946",
            "k3.network/pid": "42",
            "k3.network/peer-ttl": "90s",
            "k3.network/links": "10.0.0.0/24",
            "other": "note",
        },
    },
    "spec": {"unschedulable": True, "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]},
    "status": {
        "addresses": [{"type": "Hostname", "address": "web"}, {"type": "InternalIP", "address": "10.0.0.7"}],
        "capacity": {"cpu": "4"},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "PeerAlive",
                "message": "m",
                "lastTransitionTime": STAMP,
                "lastHeartbeatTime": STAMP,
            },
            {"type": "k3.network/Reachable", "status": "False", "reason": "r", "message": "m", "lastTransitionTime": STAMP},
        ],
        "nodeInfo": {"osImage": "Debian", "kernelVersion": "6.1", "kubeletVersion": ""},
    },
}
EVENT_DOCUMENT: Final[Manifest] = {
    "metadata": {"name": "web.1", "namespace": "default", "creationTimestamp": STAMP},
    "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": "web", "uid": "u"},
    "reason": "NodeReady",
    "message": "it answers",
    "type": "Normal",
    "firstTimestamp": "2026-11-27T01:00:00Z",
    "lastTimestamp": STAMP,
    "eventTime": None,
    "count": 3,
}
LEASE_DOCUMENT: Final[Manifest] = {
    "metadata": {"name": "k3-discovery-k3-node", "namespace": "kube-system"},
    "spec": {
        "holderIdentity": "other",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 3,
        "acquireTime": STAMP,
        "renewTime": STAMP,
    },
}
KEYS: Final = {
    NODE: Key(NODE, "web"),
    EVENT: Key(EVENT, "web.1", "default"),
    LEASE: Key(LEASE, "k3-discovery", "kube-system"),
    TOKEN: Key(TOKEN, "0123456789"),
}

_RAW: Final = st.sampled_from(
    [b"", b"null", b"[1]", b'"a"', b"\xef\xbb\xbf{}", b"{}{}", b"{" * 3_000, b"[" * 60_000, b'{"a":' * 200 + b"1" + b"}" * 200]
)


def inputs(good: Manifest) -> st.SearchStrategy[bytes]:
    """Documents of one kind."""
    usual = making.documents(good)
    return usual | usual | usual | _RAW


# --- a document, on every backend --------------------------------------------------------------------------------------


def read_everywhere(document: bytes) -> list[Object]:
    """Returns the object that each backend makes of the same bytes under the same key."""
    key = KEYS[NODE]
    row = (key.path, 7, "u", STAMP, document)
    found = [
        Object(key=key, uid="u", revision=7, document=document, created=STAMP),  # memory
        sql.read_object(row),  # SQLite and MySQL
        Documents("/kubernetes", UUID(int=1)).read(key_value(f"/kubernetes{key.path}".encode(), document)),
    ]
    assert None not in found
    return [item for item in found if item is not None]


def key_value(path: bytes, document: bytes, *, created: int = 7, revision: int = 7) -> Any:
    """Returns etcd's message of a key and its value."""
    kvs = messages.RANGE.response(kvs=[{"key": path, "value": document, "create_revision": created, "mod_revision": revision}])
    return kvs.kvs[0]


def _check_everywhere(items: list[Object]) -> None:
    assert len({item.unreadable for item in items}) == 1, "every backend says the same of it"
    assert all(0 < len(item.uid) <= limits.UID_CHARACTERS for item in items)
    shown = [_without_identity(item.manifest()) for item in items]
    assert all(same_json(each, shown[0]) for each in shown)
    item = items[0]
    if not item.unreadable:
        stored = documents.decode(item.document)
        written = documents.encode(stored)
        assert same_json(documents.decode(written), stored), "what is written is what was read"
        assert documents.encode(documents.decode(written)) == written, "a normal form"
        assert item.with_manifest(item.manifest()) is item
        noted = item.manifest() | {"spec": {"noted": True}}
        assert documents.decode(item.with_manifest(noted).document)["spec"] == {"noted": True}


def _without_identity(manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in {"uid", "creationTimestamp"}}
    return {**manifest, "metadata": metadata}


# --- a Lease, as a contender meets it ----------------------------------------------------------------------------------


def _contended(document: bytes) -> tuple[float, bool, Object]:
    async def meet() -> tuple[float, bool, Object]:
        store, key = MemoryStore(), KEYS[LEASE]
        item = Object(key=key, uid="u", revision=store._revision, document=document)
        store._objects[key] = item
        contender = Leadership(store, key, "me", random=random.Random(1))
        contender._seen = item
        patience, is_free = contender._patience(), contender._is_free()
        await contender._take()
        return patience, is_free, await store.get(key)

    return asyncio.run(meet())


def _check_contended(found: tuple[float, bool, Object]) -> None:
    patience, is_free, item = found
    assert 0 < patience <= 60
    assert isinstance(is_free, bool)
    assert not item.unreadable, "what was taken can be read by the others"
    assert item.manifest()["spec"]["holderIdentity"] == "me"


# --- rows of the SQL tables --------------------------------------------------------------------------------------------

ROW: Final[dict[str, dict[str, Any]]] = {
    "cur": {"k": "//v1/Node/odd", "rev": None},
    "log": {
        "k": "//v1/Node/odd",
        "prev_rev": 0,
        "op": "ADDED",
        "at": 1.5,
        "uid": "u",
        "created": STAMP,
        "doc": '{"metadata":{"name":"odd"}}',
    },
    "meta": {"version": 1, "rev": None, "compact": None},
}
"""A row more in each table; null: as it should be."""


@cache
def _template() -> Path:
    async def fill(path: Path) -> None:
        store = await connect(SqliteStorage(path))
        await store.create(Key(NODE, "good"), {})
        await store.aclose()

    folder = Path(tempfile.mkdtemp(prefix="k3-fuzz-"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "k3.db"
    asyncio.run(fill(path))
    return path


def _rows(data: bytes) -> Findings:
    """Reads a SQLite store whose tables have these values; JSON's texts are written as BLOBs where the column is one."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        given = {}
    with tempfile.TemporaryDirectory(prefix="k3-fuzz-") as folder:
        path = Path(folder) / "k3.db"
        shutil.copy(_template(), path)
        _plant(path, given)

        async def look() -> Findings:
            store = await connect(SqliteStorage(path))
            try:
                for kind in KINDS:
                    await store.list(kind)
                return await check(store, probe="", clock=lambda: 0.0)
            finally:
                await store.aclose()

        return asyncio.run(look())


def _plant(path: Path, given: object) -> None:
    with sqlite3.connect(path) as file:
        (last,) = file.execute("SELECT rev FROM meta").fetchone()
        here = {"cur": {"rev": last + 1}, "log": {"rev": last + 1}, "meta": {"rev": last + 1, "compact": last}}
        for table, usual in ROW.items():
            values: dict[str, Any] = dict(usual)
            if isinstance(given, dict) and isinstance(given.get(table), dict):
                values |= {key: value for key, value in given[table].items() if key in usual and value is not None}
            values = here[table] | {key: _column(key, value) for key, value in values.items() if value is not None}
            names, marks = ", ".join(values), ", ".join("?" * len(values))
            if table == "meta":
                file.execute(f"UPDATE meta SET ({names}) = ({marks})", tuple(values.values()))
            else:
                file.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
    file.close()


def _column(name: str, value: object) -> object:
    """Returns what SQLite can hold that is nearest to a JSON value."""
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        return data if name == "doc" else data.decode("utf-8", "replace")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if value != value:  # noqa: PLR0124 - NaN, which SQLite takes for a null, and has none there
        return "NaN"
    return value if isinstance(value, int | float) else json.dumps(value)


def _check_rows(found: Findings) -> None:
    assert found.revision > 0
    assert 1 <= found.counts[NODE] <= 2


# --- messages of etcd --------------------------------------------------------------------------------------------------


def _watched(data: bytes) -> list[Change | None]:
    response = messages.WATCH.response.FromString(data)
    known = Documents("/kubernetes", UUID(int=1))
    return [known.change(event) for event in response.events]


def _check_watched(changes: list[Change | None]) -> None:
    for change in filter(None, changes):
        item = change.object
        assert change.type in {"ADDED", "MODIFIED", "DELETED"}
        assert item.key.path.isascii()
        assert item.key.path.isprintable()
        assert item.unreadable or item.manifest()["metadata"]["name"] == item.key.name


@st.composite
def _watch_responses(draw: st.DrawFn) -> bytes:
    kind: Kind = draw(st.sampled_from(KINDS))
    tail = draw(st.sampled_from(["", "/", "\0", "a/b/c", "\u00e4", "x" * 300]))
    path = f"/kubernetes{KEYS[kind].path}{tail}".encode()
    kv = key_value(path, draw(inputs(NODE_DOCUMENT)), revision=draw(st.sampled_from([7, 0, -1, 2**63 - 1])))
    event = {"type": draw(st.sampled_from([0, 1, 9])), "kv": kv}
    if draw(st.booleans()):
        event["prev_kv"] = key_value(path, draw(inputs(EVENT_DOCUMENT)))
    made: bytes = messages.WATCH.response(events=[event], watch_id=draw(st.integers(-1, 1))).SerializeToString()
    return made


PARSERS: Final = (
    Parser(name="document", read=read_everywhere, inputs=inputs(NODE_DOCUMENT), check=_check_everywhere, refuses=()),
    Parser(name="lease", read=_contended, inputs=inputs(LEASE_DOCUMENT), check=_check_contended),
    Parser(
        name="sqlite-rows",
        read=_rows,
        inputs=making.documents(ROW),
        check=_check_rows,
    ),
    Parser(
        name="etcd-watch",
        read=_watched,
        inputs=_watch_responses() | _watch_responses().flatmap(making.bent) | st.binary(max_size=60),
        check=_check_watched,
        refuses=(DecodeError, LookupError),
    ),
)
