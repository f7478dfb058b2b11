"""What may become of k3's own keys in an etcd, and of values that k3 could not have written."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Final

import pytest

from k3.core.errors import Damaged, TooLarge
from k3.core.objects import NODE
from k3.stores import connect
from k3.stores.etcd import EtcdStorage
from k3.testing.store_steps import node
from tests.servers import Server, etcd_server
from tests.stores.etcd_lab import opened, put, read

pytestmark = pytest.mark.servers("etcd")

_NUMBERS: Final = count()
GARBAGE: Final = (b"", b"\xff\xfe\x00", b"[]", b"0" * 500_000, b"00000000-0000-0000-0000-00000000000g")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with etcd_server() as server:
        yield server


@pytest.fixture
def storage(server: Server) -> EtcdStorage:
    return EtcdStorage(endpoints=(server.endpoint,), prefix=f"/damaged{next(_NUMBERS)}")


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
async def test_a_store_s_id_that_is_none_is_named_with_what_to_do(server: Server, storage: EtcdStorage, garbage: bytes) -> None:
    """A running store has learnt its id, and goes on; the next one says which key it is, and not what is there."""
    key = f"{storage.prefix}/k3/store-id"
    async with opened(storage) as running:
        await running.create(node("n1"), {})
        put(server, key, garbage)
        with pytest.raises(Damaged) as refused:
            await connect(storage)
        said = str(refused.value)
        assert (said.count("\n"), len(said) < 300) == (0, True)
        assert f"its key {key} does not hold a store's id; remove that key" in said
        await running.create(node("n2"), {})
        assert len((await running.list(NODE)).objects) == 2
    assert read(server, key) == garbage, "nothing of it is written over"


@pytest.mark.parametrize("garbage", GARBAGE[1:3], ids=("binary", "list"))
async def test_the_note_of_compaction_may_hold_anything(server: Server, storage: EtcdStorage, garbage: bytes) -> None:
    put(server, f"{storage.prefix}/k3/compaction", garbage)
    async with opened(storage) as store:
        await store.create(node("n1"), {})
        for _ in range(3):
            await store._compactor.round()
        assert len((await store.list(NODE)).objects) == 1


async def test_a_value_larger_than_k3_writes_is_read_and_left(server: Server, storage: EtcdStorage) -> None:
    """1.4 MB, as etcd takes it; every page of a list and every watch has it."""
    large = json.dumps({"metadata": {"labels": {"a": "b"}}, "data": "x" * 1_400_000})
    async with opened(storage) as store:
        start = (await store.list(NODE)).revision
        async with store.watch(NODE, start) as events:
            put(server, f"{storage.prefix}//v1/Node/large", large)
            await store.create(node("small"), {})
            seen = []
            async for event in events:
                if (item := getattr(event, "object", None)) is not None:
                    seen.append(item.key.name)
                if len(seen) == 2:
                    break
        found = await store.get(node("large"))
        assert (found.unreadable, len(found.document)) == ("", len(large))
        with pytest.raises(TooLarge):
            await store.update(found.with_manifest({**found.manifest(), "more": 1}))
        assert [item.key.name for item in (await store.list(NODE)).objects] == ["large", "small"]
        await store.delete(node("large"))
