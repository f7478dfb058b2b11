"""Tables that another user changes under a running k3: it says what is damaged, once; an odd row costs its own object."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from k3.core.errors import Damaged, Forbidden, StartFailed, TooLarge, Unavailable
from k3.core.objects import NODE
from k3.core.store import Change
from k3.stores import connect
from k3.stores.enduring import EnduringStore
from k3.stores.mysql import MysqlStorage
from k3.stores.mysql.store import MysqlStore
from k3.testing.store_steps import next_change, node
from tests.odd import ODD
from tests.servers import Mariadb, mariadb_server
from tests.stores.mysql_damage import DAMAGED, by_sql, drop_all, put
from tests.stores.mysql_places import HANG_SECONDS, storage_on

pytestmark = [pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb-damaged")]


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
def storage(server: Mariadb) -> MysqlStorage:
    return storage_on(server, "damaged")


@pytest.fixture
async def store(storage: MysqlStorage) -> AsyncIterator[EnduringStore]:
    """As an agent has it, with two Nodes."""
    store = EnduringStore(await connect(storage))
    for name in ("n1", "n2"):
        await store.create(node(name), {})
    yield store
    await store.aclose()


@pytest.mark.parametrize("kind", DAMAGED)
async def test_a_running_store_says_it_once_and_begins_anew(
    store: EnduringStore, server: Mariadb, storage: MysqlStorage, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    statement, _ = DAMAGED[kind]
    by_sql(server, storage, statement)
    for _ in range(3):
        with suppress(Unavailable):
            await store.list(NODE)
        with suppress(Unavailable):
            await store.update(await store.get(node("n2")))
    lost = [record for record in caplog.records if record.getMessage() == "store.lost"]
    assert len(lost) <= 1, [record.fields for record in lost]  # type: ignore[attr-defined]
    assert all(record.fields["why"].count(" is damaged: ") == 1 for record in lost)  # type: ignore[attr-defined]
    assert not [record for record in caplog.records if record.exc_info], "no trace: it is no fault of k3's"
    drop_all(server, storage, kind)
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            with suppress(Unavailable):
                await store.create(node("anew"), {})
                break
            await asyncio.sleep(0.1)
    assert [item.key.name for item in (await store.list(NODE)).objects] == ["anew"]


async def test_odd_documents_cost_their_own_object(store: EnduringStore, server: Mariadb, storage: MysqlStorage) -> None:
    for kind, (document, _) in ODD.items():
        if len(document) < 50_000:  # of what the client program takes as an argument
            put(server, storage, f"odd-{kind}", document)
    items = {item.key.name: item for item in (await store.list(NODE)).objects}
    for kind, (document, why) in ODD.items():
        if len(document) < 50_000:
            item = items[f"odd-{kind}"]
            assert item.document == document
            assert why in item.unreadable
            assert await store.get(item.key) == item
            assert (await store.delete(item.key)).document == document
    assert [item.key.name for item in (await store.list(NODE)).objects] == ["n1", "n2"]


async def test_a_watch_goes_on_behind_odd_rows(store: EnduringStore, server: Mariadb, storage: MysqlStorage) -> None:
    async with store.watch(NODE, (await store.list(NODE)).revision) as events:
        put(server, storage, "odd", b"\xff\x00")
        assert (await next_change(events)).object.unreadable == "not UTF-8 at byte 0"
        late = await store.create(node("late"), {})
        assert await next_change(events) == Change("ADDED", late)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE cur SET rev = 77", "UPDATE cur SET rev = (SELECT MAX(rev) FROM log)", "DELETE FROM log"],
    ids=["nonsense-rev", "another-s-rev", "lost-line"],
)
async def test_an_object_without_its_line_is_there_and_cannot_be_read(
    store: EnduringStore, server: Mariadb, storage: MysqlStorage, statement: str
) -> None:
    by_sql(server, storage, f"{statement} WHERE k = '//v1/Node/n1'")
    first, second = (await store.list(NODE)).objects
    assert (first.unreadable, second.unreadable) == ("it is empty", "")
    await store.delete(node("n1"))
    assert [item.key.name for item in (await store.list(NODE)).objects] == ["n2"]


async def test_a_counter_set_back_is_damage_to_a_writer(store: EnduringStore, server: Mariadb, storage: MysqlStorage) -> None:
    by_sql(server, storage, "UPDATE meta SET rev = rev - 1")
    with pytest.raises(Unavailable, match="is damaged: Duplicate entry"):
        await store.create(node("n3"), {})
    assert len((await store.list(NODE)).objects) == 2
    checker = MysqlStore(storage)
    await checker.open()
    with pytest.raises(Damaged, match="while the table log goes on to"):
        await checker.facts()
    await checker.aclose()


async def test_a_newer_k3_s_schema_is_said_by_a_running_one(
    store: EnduringStore, server: Mariadb, storage: MysqlStorage
) -> None:
    by_sql(server, storage, "UPDATE meta SET version = 99")
    with pytest.raises(Unavailable, match="was made by a newer k3"):
        await store.list(NODE)
    with pytest.raises(StartFailed, match="was made by a newer k3"):
        await connect(storage)
    by_sql(server, storage, "UPDATE meta SET version = 1")
    assert len((await store.list(NODE)).objects) == 2


async def test_another_collation_changes_nothing(store: EnduringStore, server: Mariadb, storage: MysqlStorage) -> None:
    by_sql(
        server,
        storage,
        f"ALTER DATABASE {storage.database} CHARACTER SET latin1; ALTER TABLE log CONVERT TO CHARACTER SET utf16;"
        " ALTER TABLE cur CONVERT TO CHARACTER SET latin1; ALTER TABLE meta CONVERT TO CHARACTER SET latin1 COLLATE latin1_bin",
    )
    await store.create(node("n3"), {"name": "ä漢😀"})
    again = await connect(storage)
    assert (await again.get(node("n3"))).manifest()["name"] == "ä漢😀"
    assert len((await again.list(NODE)).objects) == 3
    await again.aclose()


async def test_rights_that_are_taken_away_are_named(store: EnduringStore, server: Mariadb, storage: MysqlStorage) -> None:
    server.sql("REVOKE ALL PRIVILEGES ON `k3%`.* FROM k3@'%'")
    try:
        with pytest.raises(Forbidden, match="GRANT SELECT"):
            await connect(storage)
        server.sql(f"GRANT SELECT ON `{storage.database}`.* TO k3@'%'")
        reader = await connect(storage)
        assert len((await reader.list(NODE)).objects) == 2
        with pytest.raises(Forbidden, match="lacks rights on database"):
            await reader.create(node("n3"), {})
        await reader.aclose()
    finally:
        server.sql(f"REVOKE ALL PRIVILEGES ON `{storage.database}`.* FROM k3@'%'; GRANT ALL PRIVILEGES ON `k3%`.* TO k3@'%'")
    await store.create(node("n3"), {})


async def test_a_server_that_only_reads_is_named(store: EnduringStore, server: Mariadb) -> None:
    server.sql("SET GLOBAL read_only = ON")
    try:
        with pytest.raises(Unavailable, match="the server only reads"):
            await store.create(node("n3"), {})
        assert len((await store.list(NODE)).objects) == 2
    finally:
        server.sql("SET GLOBAL read_only = OFF")
    await store.create(node("n3"), {})


async def test_a_document_at_the_edge_of_a_packet(server: Mariadb, storage: MysqlStorage) -> None:
    """What just fits is written and read; what does not is refused for its own writer."""
    usual = server.sql("SELECT @@global.max_allowed_packet").strip()
    server.sql("SET GLOBAL max_allowed_packet = 1048576")
    store = MysqlStore(storage)
    await store.open()
    server.sql(f"SET GLOBAL max_allowed_packet = {usual}")
    sizes = {}
    for size in (1_040_000, 1_046_000, 1_046_300, 1_046_400, 1_047_000, 1_048_000):
        try:
            made = await store.create(node(f"n{size}"), {"x": "x" * size})
            assert await store.get(made.key) == made
            await store.update(made.with_manifest({**made.manifest(), "x": "y" * size}))
            await store.delete(made.key)
            sizes[size] = True
        except TooLarge:
            sizes[size] = False
    assert sizes[1_040_000]
    assert not sizes[1_048_000]
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    await store.aclose()
