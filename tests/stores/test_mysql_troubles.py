"""What can happen between k3 and a MySQL server, and what is said about it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from k3.core import limits
from k3.core.errors import Expired, Forbidden, Invalid, K3Error, NotFound, StartFailed, TooLarge, Unavailable
from k3.core.objects import NODE, Object
from k3.core.store import Bookmark, Change, Store
from k3.settings.storage import read_url
from k3.stores import connect
from k3.stores.log import sql as _sql
from k3.stores.mysql import MysqlStorage, text
from k3.stores.mysql import storage as storage_from
from k3.stores.mysql import store as mysql
from k3.stores.mysql.store import MysqlStore
from k3.testing.clock import FakeClock
from k3.testing.leaks import LeakCheck
from k3.testing.store_steps import changes_until, create_many, next_change, node
from tests.needs import find
from tests.servers import Mariadb, mariadb_server
from tests.stores.cutting_proxy import Cut, Moment, cutting_proxy
from tests.stores.filling import write_many
from tests.stores.mysql_places import HANG_SECONDS, leak_check, settled, storage_on

pytestmark = [pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb-troubles")]


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
def storage(server: Mariadb) -> MysqlStorage:
    return storage_on(server, "troubles")


@pytest.fixture
async def store(storage: MysqlStorage) -> AsyncIterator[MysqlStore]:
    leaks = await leak_check()
    store = MysqlStore(storage)
    await store.open()
    yield store
    await store.aclose()
    await settled(leaks)


async def refusal(storage: MysqlStorage, kind: type[K3Error]) -> str:
    """Why opening is refused: one line, without the password; nothing stays open."""
    leaks = await leak_check()
    with pytest.raises(kind) as refused:
        await connect(storage)
    await settled(leaks)
    said = str(refused.value)
    assert "\n" not in said
    assert not storage.password or storage.password not in said
    assert f"mysql {storage.host}:{storage.port}" in said
    return said


async def created(store: Store, name: str) -> Object:
    """A new Node, as soon as the store takes it."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            try:
                return await store.create(node(name), {})
            except Unavailable:
                await asyncio.sleep(0.01)


def kill_sessions(server: Mariadb) -> int:
    """End every session of the user k3; how many there were."""
    numbers = server.sql("SELECT id FROM information_schema.processlist WHERE user = 'k3'").split()
    for number in numbers:
        server.sql(f"KILL {number}")
    return len(numbers)


# --- opening


async def test_a_wrong_password_is_forbidden(storage: MysqlStorage) -> None:
    said = await refusal(replace(storage, password="guessed-wr0ng"), Forbidden)
    assert "user k3 is refused: wrong password (K3_STORE_PASSWORD)" in said


async def test_a_password_may_have_any_character(server: Mariadb, storage: MysqlStorage) -> None:
    server.sql("DROP USER IF EXISTS odd@'%'; CREATE USER odd@'%' IDENTIFIED BY 'pä€ß漢'; GRANT ALL ON `k3%`.* TO odd@'%'")
    await (await connect(replace(storage, user="odd", password="pä€ß漢"))).aclose()


async def test_a_server_that_is_not_there_is_unavailable(storage: MysqlStorage) -> None:
    assert "cannot be reached (connection refused): is it running" in await refusal(replace(storage, port=1), Unavailable)
    assert "cannot be reached (no such host)" in await refusal(replace(storage, host="no-such-host.invalid"), Unavailable)


async def test_a_missing_database_is_made(server: Mariadb, storage: MysqlStorage) -> None:
    server.sql("DROP DATABASE IF EXISTS k3_new")
    store = await connect(replace(storage, database="k3_new"))
    made = await store.create(node("n1"), {})
    assert await store.get(node("n1")) == made
    await store.aclose()


async def test_where_that_is_not_allowed_the_sql_to_run_is_named(server: Mariadb, storage: MysqlStorage) -> None:
    said = await refusal(replace(storage, database="elsewhere"), Forbidden)
    _, _, sql = said.partition("as administrator run: ")
    server.sql(sql)
    await (await connect(replace(storage, database="elsewhere"))).aclose()


async def test_missing_rights_are_named(server: Mariadb, storage: MysqlStorage) -> None:
    server.sql(
        "DROP USER IF EXISTS reader@'%'; CREATE USER reader@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON `k3%`.* TO reader@'%'"
    )
    said = await refusal(replace(storage, user="reader"), Forbidden)
    assert "user reader lacks rights on database k3_troubles; as administrator run: GRANT SELECT, INSERT" in said


async def test_a_reader_without_rights_to_write_reads(store: MysqlStore, server: Mariadb, storage: MysqlStorage) -> None:
    server.sql(
        "DROP USER IF EXISTS reader@'%'; CREATE USER reader@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON `k3%`.* TO reader@'%'"
    )
    made = await store.create(node("n1"), {})
    reader = await connect(replace(storage, user="reader"))
    assert await reader.get(node("n1")) == made
    with pytest.raises(Forbidden, match="user reader lacks rights"):
        await reader.create(node("n2"), {})
    await reader.aclose()


async def test_tables_of_another_program_are_refused_and_left_alone(server: Mariadb, storage: MysqlStorage) -> None:
    server.sql(f"CREATE TABLE {storage.database}.log (line TEXT)")
    assert "has a table log of another program" in await refusal(storage, StartFailed)
    assert server.sql(f"SHOW TABLES IN {storage.database}") == "log\n"


async def test_a_store_of_a_newer_k3_is_refused(store: MysqlStore, server: Mariadb, storage: MysqlStorage) -> None:
    server.sql(f"UPDATE {storage.database}.meta SET version = 99")
    assert "newer k3" in await refusal(storage, StartFailed)


async def test_a_store_of_an_older_k3_is_migrated_once(
    store: MysqlStore, storage: MysqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await store.create(node("n1"), {})
    monkeypatch.setattr(_sql, "SCHEMA", 2)
    monkeypatch.setattr(text, "MIGRATIONS", {1: [b"ALTER TABLE log ADD COLUMN more INT NOT NULL DEFAULT 0"]})
    stores = await asyncio.gather(*(connect(storage) for _ in range(4)))
    for each in stores:
        assert await each.get(node("n1")) == made
        await each.aclose()


async def test_many_at_once_make_one_store(storage: MysqlStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 30.0)  # that one of twelve may wait on a busy machine
    stores = await asyncio.gather(*(connect(storage) for _ in range(12)))
    assert len({store.id for store in stores}) == 1
    for store in stores:
        await store.aclose()


async def test_its_url_opens_it_again(store: MysqlStore, storage: MysqlStorage) -> None:
    found = read_url(store.url, "--store")
    assert storage_from(found.settings, default_path=Path(), where="--store") == replace(storage, password="")
    odd = MysqlStore(replace(storage, host="::1", user="a@b/c", database="d?e", ca_file=""))
    found = read_url(odd.url, "--store")
    assert (found.settings["host"], found.settings["user"], found.settings["database"]) == ("::1", "a@b/c", "d?e")
    await odd.aclose()


async def test_something_else_on_the_port_is_unavailable(storage: MysqlStorage) -> None:
    """Whatever it says, and however it ends."""
    for greeting in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\x00\x00\x00\x0a5.5\x00", b"", bytes(range(256)) * 40):

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: bytes = greeting) -> None:
            writer.write(greeting)
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as stranger:
            port = stranger.sockets[0].getsockname()[1]
            await refusal(replace(storage, port=port), Unavailable)


# --- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority `ca`, and of it `server` for 127.0.0.1 and `client`; and a stranger's `other`."""
    folder = tmp_path_factory.mktemp("tls")
    folder.parent.chmod(0o755)
    if find("openssl") is None:
        pytest.skip("needs openssl, to make certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=HANG_SECONDS)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.pem", "-days", "2")
    return folder


@pytest.fixture(scope="module")
def tls_server(certificates: Path) -> Iterator[Mariadb]:
    files = (
        f"--ssl-{what}={certificates}/{name}"
        for what, name in (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))
    )
    with mariadb_server(*files) as server:
        yield server


async def test_tls_with_and_without_a_certificate_of_ones_own(tls_server: Mariadb, certificates: Path) -> None:
    tls_server.sql("CREATE USER sure@'%' IDENTIFIED BY 'secret' REQUIRE X509; GRANT ALL ON `k3%`.* TO sure@'%'")
    leaks = LeakCheck()
    storage = replace(storage_on(tls_server, "tls"), ca_file=f"{certificates}/ca.pem")
    store = MysqlStore(storage)
    await store.open()
    assert (await store._server.read(b"SHOW STATUS LIKE 'Ssl_version'"))[0][0][1].startswith("TLS")
    made = await store.create(node("n1"), {"x": "x" * 500_000})
    assert await store.get(node("n1")) == made
    await store.aclose()
    sure = replace(storage, user="sure", cert_file=f"{certificates}/client.pem", key_file=f"{certificates}/client.key")
    store = MysqlStore(sure)
    await store.open()
    assert await store.get(node("n1")) == made
    await store.aclose()
    await settled(leaks)
    assert "only with TLS (ssl_mode)" in await refusal(replace(sure, cert_file="", key_file=""), Forbidden)


async def test_what_tls_does_not_prove_is_forbidden(tls_server: Mariadb, server: Mariadb, certificates: Path) -> None:
    storage = storage_on(tls_server, "tls")
    for mode in ("", "verify_ca"):
        said = await refusal(replace(storage, ca_file=f"{certificates}/other.pem", ssl_mode=mode), Forbidden)
        assert f"its certificate is not signed by {certificates}/other.pem: check ca_file" in said
    elsewhere = replace(storage, ca_file=f"{certificates}/ca.pem", host="localhost")
    said = await refusal(elsewhere, Forbidden)
    assert "is for another name, or for none" in said
    assert "set ssl_mode to verify_ca" in said
    await (await connect(replace(elsewhere, ssl_mode="verify_ca"))).aclose()
    if server.version < "11.4":  # later ones make themselves a certificate
        plain = storage_on(server, "tls")
        assert "does not speak TLS" in await refusal(replace(plain, ca_file=f"{certificates}/ca.pem"), Forbidden)
        assert "does not speak TLS" in await refusal(replace(plain, ssl_mode="required"), Forbidden)
    tls_server.sql("SET GLOBAL require_secure_transport = ON")
    assert "TLS" in (said := await refusal(replace(storage, ssl_mode="disabled"), Forbidden))
    assert "ssl_mode" in said
    tls_server.sql("SET GLOBAL require_secure_transport = OFF")


@pytest.mark.parametrize(("setting", "name"), [("ca_file", "none.pem"), ("ca_file", "server.key"), ("cert_file", "server.key")])
async def test_unusable_tls_files_are_named(storage: MysqlStorage, certificates: Path, setting: str, name: str) -> None:
    with pytest.raises(StartFailed, match=f"storage.mysql: {setting} {certificates}/{name}.*PEM"):
        await connect(replace(storage, **{setting: f"{certificates}/{name}"}))  # type: ignore[arg-type]


# --- running


async def test_killed_sessions_are_not_noticed(store: MysqlStore, server: Mariadb) -> None:
    """Neither by readers nor by writers nor by watchers; nothing is written twice."""
    made = await store.create(node("n1"), {})
    async with store.watch(NODE, made.revision) as events:
        for number in range(5):
            await asyncio.gather(*(store.get(node("n1")) for _ in range(20)))
            assert kill_sessions(server) > 0
            assert await store.get(node("n1")) == made
            kill_sessions(server)
            late = await store.create(node(f"late{number}"), {})
            assert late.revision == made.revision + 1 + number
            assert (await next_change(events)).object == late


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_lost_commit_is_of_unknown_outcome_and_never_repeated(storage: MysqlStorage, moment: Moment) -> None:
    leaks = LeakCheck()
    async with cutting_proxy(storage.host, storage.port) as proxy:
        store = MysqlStore(replace(storage, port=proxy.port, ssl_mode="disabled"))  # it cuts by what it reads
        await store.open()
        first = await store.create(node("n1"), {})
        proxy.cut = Cut(b"COMMIT;SET SESSION", moment)
        with pytest.raises(Unavailable, match="may or may not be written"):
            await store.create(node("n2"), {})
        assert proxy.cuts == 1
        found = [item.key.name for item in (await store.list(NODE)).objects]
        assert found == (["n1"] if moment == "before" else ["n1", "n2"])
        third = await store.create(node("n3"), {})
        assert third.revision == first.revision + len(found)
        await store.aclose()
    await settled(leaks)


async def test_a_connection_lost_before_the_commit_is_made_good(storage: MysqlStorage) -> None:
    async with cutting_proxy(storage.host, storage.port) as proxy:
        store = MysqlStore(replace(storage, port=proxy.port, ssl_mode="disabled"))  # it cuts by what it reads
        await store.open()
        for number, request in enumerate((b"FOR UPDATE", b"WHERE cur.k = ", b"WHERE cur.k > "), start=1):
            proxy.cut = Cut(request, "after")
            made = await store.create(node(f"n{number}"), {})
            assert await store.get(made.key) == made
            assert len((await store.list(NODE)).objects) == number
            assert proxy.cuts == number
        await store.aclose()


async def test_a_deadlock_is_tried_again(store: MysqlStore, storage: MysqlStorage, server: Mariadb) -> None:
    """Somebody who takes the rows in the wrong order, and has written more, so that the server ends our transaction."""
    server.sql(f"CREATE TABLE {storage.database}.theirs (n INT PRIMARY KEY) ENGINE=InnoDB")
    made = await store.create(node("n1"), {"n": 0})
    async with store._server._session() as other:
        rows = ",".join(f"({number})" for number in range(500))
        await other.run([b"START TRANSACTION", f"INSERT INTO theirs VALUES {rows}".encode()])
        await other.run([b"SELECT * FROM cur FOR UPDATE"])
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(store.update(made.with_manifest({**made.manifest(), "n": 1})))
            waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
            while server.sql(waiting) != "1\n":  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.2)  # and looks afresh only where nobody has asked for a tenth of a second
            await other.run([_sql.HEAD.encode() + b" FOR UPDATE"])
            await other.run([b"ROLLBACK"])
        assert writing.result().revision == made.revision + 1
    assert "LATEST DETECTED DEADLOCK" in server.sql("SHOW ENGINE INNODB STATUS")


async def test_a_counter_held_for_long_is_unavailable(store: MysqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers wait no longer than the timeout; readers do not wait at all."""
    async with store._server._session() as other:
        await other.run(text.BEGIN_WRITE)
        monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.3)
        with pytest.raises(Unavailable):
            await store.create(node("n1"), {})
        assert (await store.list(NODE)).objects == ()
        await other.run(text.CANCEL_WRITE)
    monkeypatch.undo()
    await store.create(node("n2"), {})
    assert [item.key.name for item in (await store.list(NODE)).objects] == ["n2"]


async def test_what_the_server_does_not_take_is_too_large_for_its_writer_alone(server: Mariadb, storage: MysqlStorage) -> None:
    """Batches are split to fit into packets."""
    usual = server.sql("SELECT @@global.max_allowed_packet").strip()
    server.sql("SET GLOBAL max_allowed_packet = 1048576")
    store = MysqlStore(storage)
    await store.open()
    server.sql(f"SET GLOBAL max_allowed_packet = {usual}")
    big, half = {"x": "'" * 700_000}, {"x": "x" * 500_000}
    done = await asyncio.gather(
        store.create(node("big"), big),
        *(store.create(node(f"half{number}"), half) for number in range(12)),
        return_exceptions=True,
    )
    assert isinstance(done[0], TooLarge)
    assert "raise max_allowed_packet" in str(done[0])
    made = [item for item in done[1:] if isinstance(item, Object)]
    assert len(made) == 12
    assert [item.revision for item in made] == list(range(made[0].revision, made[0].revision + 12))
    assert set((await store.list(NODE)).objects) == set(made)
    await store.aclose()


async def test_a_packet_the_server_refuses_costs_no_more_than_its_connection(store: MysqlStore, server: Mariadb) -> None:
    size = int(server.sql("SELECT @@global.max_allowed_packet")) + 1_000
    with pytest.raises(Unavailable):
        await store._server.read(b"SELECT LENGTH('" + b"x" * size + b"')")
    made = await store.create(node("n1"), {})
    assert await store.get(node("n1")) == made


async def test_a_dropped_database_is_begun_anew(store: MysqlStore, server: Mariadb, storage: MysqlStorage) -> None:
    """What was there is gone, and nobody who watched or resumes is led to believe otherwise."""
    made = await store.create(node("n1"), {})
    first = store.id
    async with store.watch(NODE, made.revision) as events:
        server.sql(f"DROP DATABASE {storage.database}")
        with pytest.raises((Unavailable, Expired)):
            await next_change(events)
    again = await created(store, "n3")
    assert store.id != first
    assert again.revision > made.revision
    with pytest.raises(NotFound):
        await store.get(node("n1"))
    with pytest.raises(Expired):
        async with store.watch(NODE, made.revision):
            pass


async def test_compaction_behind_a_watcher_is_expired(storage: MysqlStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has been asleep for long; who lists again sees everything."""
    clock = FakeClock()
    store, sleeper = MysqlStore(storage, clock=clock.time), MysqlStore(storage, clock=clock.time)
    await store.open()
    monkeypatch.setattr(mysql, "POLL_SECONDS", 3_600.0)
    await sleeper.open()
    made = await store.create(node("n1"), {})
    async with sleeper.watch(NODE, made.revision) as events:
        assert isinstance(await anext(events), Bookmark)
        await write_many(store, limits.HISTORY_REVISIONS)
        clock.advance(limits.HISTORY_SECONDS + 1)
        for _ in range(8):
            await write_many(store, 300)
        sleeper._tail.poke()
        with pytest.raises(Expired):
            await next_change(events)
    page = await sleeper.list(NODE)
    assert page.objects == (made,)
    async with sleeper.watch(NODE, page.revision) as events:
        late = await sleeper.create(node("n2"), {})
        assert await changes_until(events, late.revision) == [Change("ADDED", late)]
    await sleeper.aclose()
    await store.aclose()


async def test_connections_are_bounded(server: Mariadb, storage: MysqlStorage) -> None:
    for most in (1, 2, 4):
        store = MysqlStore(replace(storage, max_open_conns=most, max_idle_conns=0))
        await store.open()
        async with store.watch(NODE, (await store.list(NODE)).revision) as events:
            names = [f"{most}-{number}" for number in range(20)]
            made = await asyncio.gather(*(store.create(node(name), {}) for name in names))
            await asyncio.gather(*(store.get(node(name)) for name in names), *(store.list(NODE) for _ in range(5)))
            count = int(server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'k3'"))
            assert 1 <= count <= most
            assert len(await changes_until(events, max(item.revision for item in made))) == 20
        await store.aclose()


async def test_any_key_and_any_bytes_are_stored_as_they_are(store: MysqlStore) -> None:
    names = ["it's", 'a"b', "back\\slash", "%s", "a?b", "a;b", "a ", "a", "A", "-- x", "_binary", "x'27'"]
    odd = bytes(range(1, 128)).replace(b'"', b"").replace(b"\\", b"").decode().translate(dict.fromkeys(range(32)))
    for name in names:
        made = await store.create(node(name), {"name": name, "odd": odd, "more": "\0\r\n\x1a\\'\"ä漢😀"})
        assert await store.get(node(name)) == made
        assert (await store.get(node(name))).manifest()["more"] == "\0\r\n\x1a\\'\"ä漢😀"
    wide = replace(await store.get(node("a")), document='\t{ "name" :\r\n"\x7f ä漢😀" }\n'.encode())
    assert (await store.update(wide)).document == (await store.get(wide.key)).document == wide.document
    with pytest.raises(Invalid, match="not UTF-8"):
        await store.update(replace(await store.get(node("a")), document='{"name": "UTF-16"}'.encode("utf-16")))
    assert [item.key.name for item in (await store.list(NODE)).objects] == sorted(names)
    await store.delete(node("a "))
    assert (await store.get(node("a"))).key.name == "a"


async def test_a_list_and_compaction_use_the_indexes(store: MysqlStore, server: Mariadb, storage: MysqlStorage) -> None:
    """Nothing reads a whole table."""
    await create_many(store, 400, prefix="n")
    statement, parameters = _sql.ListQuery(kind=NODE, namespace="", limit=10, after=node("n-200"), at=None).statement()
    statements = [text.render(statement, *parameters), text.render(_sql.GET, node("n-1").path.encode())]
    statements += text.forget(1, 2)[:2]
    statements += text.for_keys(_sql.GET, [node("n-1").path, node("n-2").path], limit=10_000)
    for each in statements:
        for row in server.sql(f"USE {storage.database}; EXPLAIN FORMAT=TRADITIONAL {each.decode()}").splitlines():
            assert "ALL" not in row.split("\t")[3:5], (each, row)  # MySQL has a column more in front


@pytest.mark.slow
async def test_the_size_stays_as_large_as_the_history(server: Mariadb, storage: MysqlStorage) -> None:
    """With its history, a store is as large after many updates as after a few."""
    clock = FakeClock()
    store = MysqlStore(storage, clock=clock.time)
    await store.open()
    sizes = []
    for _ in range(6):
        await write_many(store, 6_000)
        clock.advance(limits.HISTORY_SECONDS)
        sizes.append(sum(file.stat().st_size for file in (server.tables / storage.database).iterdir()))
    rows = int(server.sql(f"SELECT COUNT(*) FROM {storage.database}.log"))
    await store.aclose()
    assert rows <= limits.HISTORY_REVISIONS + 6_000  # what five minutes saw is kept as well
    assert sizes[-1] < 1.3 * sizes[2], sizes


def test_sqlite_does_not_load_the_driver() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, k3.stores, k3.stores.sqlite.store; print('asyncmy' in sys.modules)"],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert done.stdout == "False\n"
