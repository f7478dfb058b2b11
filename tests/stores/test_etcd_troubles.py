"""What can happen to an etcd, and what is said about it: outages, logins, certificates, foreign and unreadable values."""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from k3.core import limits
from k3.core.errors import Conflict, Expired, Forbidden, Invalid, K3Error, StartFailed, Unavailable
from k3.core.objects import NODE
from k3.core.store import Bookmark, Change, modify
from k3.settings.storage import read_url
from k3.stores import connect, reader
from k3.stores.enduring import EnduringStore
from k3.stores.etcd import EtcdStorage, following, messages
from k3.stores.etcd import storage as storage_from
from k3.stores.etcd.store import EtcdStore
from k3.testing.store_steps import changes_until, create_many, next_change, node, unavailable
from tests.odd import ODD
from tests.servers import Server, etcd_server
from tests.stores.etcd_lab import (
    HANG_SECONDS,
    add_users,
    cable,
    cluster,
    gateway,
    leader_of,
    make_certificates,
    opened,
    put,
    read,
    tls_server,
    until_it_works,
)

pytestmark = pytest.mark.servers("etcd")

_NUMBERS: Final = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """For tests that leave it as it was."""
    with etcd_server() as server:
        yield server


@pytest.fixture
def storage(server: Server) -> EtcdStorage:
    return EtcdStorage(endpoints=(server.endpoint,), prefix=f"/test{next(_NUMBERS)}")


async def refusal(storage: EtcdStorage, kind: type[K3Error]) -> str:
    """Why opening is refused: one line, without a secret."""
    with pytest.raises(kind) as refused:
        await connect(storage)
    said = str(refused.value)
    assert said.isprintable()
    assert "secret" not in said
    return said


# --- outages


async def test_nobody_there_is_said_in_one_line(server: Server) -> None:
    with etcd_server() as gone:
        pass
    said = await refusal(EtcdStorage(endpoints=(gone.endpoint,)), Unavailable)
    assert said == f"no etcd answers at {gone.endpoint} (connection refused): start it, or correct the endpoints"
    assert "no such host" in await refusal(EtcdStorage(endpoints=("http://no-such-host.invalid:2379",)), Unavailable)


async def test_something_else_there_is_said(server: Server) -> None:
    async def other(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(other, "127.0.0.1", 0)
    said = await refusal(EtcdStorage(endpoints=(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}",)), Unavailable)
    assert "is no etcd v3" in said
    listener.close()


async def test_one_of_several_endpoints_is_enough(server: Server, storage: EtcdStorage) -> None:
    with etcd_server() as gone:
        pass
    endpoints = (gone.endpoint, f"http://localhost:{server.port}", gone.endpoint)
    for _ in range(4):  # whichever it begins with
        async with opened(storage, endpoints=endpoints) as store:
            await store.list(NODE)


class Writers:
    """Write until told to stop, and note what was acknowledged."""

    def __init__(self, store: EtcdStore) -> None:
        self.acknowledged: dict[str, int] = {}
        self.done = False
        self._store = store
        self._wrote = asyncio.Condition()

    async def write(self, writer: int) -> None:
        for number in count():
            if self.done:
                return
            try:
                made = await self._store.create(node(f"n{writer}-{number}"), {"x": "x" * 1000})
            except Unavailable:
                await asyncio.sleep(0.05)
                continue
            self.acknowledged[made.key.name] = made.revision
            async with self._wrote:
                self._wrote.notify_all()

    async def acknowledge_more(self, number: int) -> None:
        enough = len(self.acknowledged) + number
        async with self._wrote:
            await self._wrote.wait_for(lambda: len(self.acknowledged) >= enough)


async def test_an_ipv6_endpoint_and_the_url_that_opens_it_again() -> None:
    with etcd_server() as server:
        port = server.site.free_port()
        server.close()
        server._argv = [f"{word},http://[::1]:{port}" if "client-urls" in word else word for word in server._argv]
        server.start()
        async with opened(EtcdStorage(endpoints=(f"http://[::1]:{port}",), prefix="/here", compact=False)) as store:
            made = await store.create(node("n1"), {})
            assert store.url == f"etcd://[::1]:{port}/here"
            settings = read_url(store.url, "--store").settings
            again = storage_from(settings, default_path=Path("/nowhere"), where="--store")
        assert isinstance(again, EtcdStorage)
        async with opened(again) as store:
            assert await store.get(node("n1")) == made


async def test_killed_under_load_it_loses_nothing_and_all_recover(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "k3.stores.etcd")
    with etcd_server() as server:
        async with opened(EtcdStorage(endpoints=(server.endpoint,))) as store:
            start = (await store.list(NODE)).revision
            writers = Writers(store)
            async with store.watch(NODE, start) as events:
                async with asyncio.TaskGroup() as group:
                    for number in range(8):
                        group.create_task(writers.write(number))
                    seen = [await next_change(events) for _ in range(100)]
                    server.close()
                    await asyncio.to_thread(server.start)
                    async with asyncio.timeout(5):
                        await writers.acknowledge_more(100)
                    writers.done = True
                fence = await until_it_works(lambda: store.create(node("zz"), {}))
                seen += await changes_until(events, fence.revision)
            listed = {item.key.name: item.revision for item in (await store.list(NODE)).objects}
    assert {name: listed[name] for name in writers.acknowledged} == writers.acknowledged
    assert [change.object.revision for change in seen] == sorted(listed.values())
    assert "etcd.moved" not in [record.getMessage() for record in caplog.records], "there is but one"


async def test_a_write_whose_answer_is_lost_is_not_repeated(server: Server, storage: EtcdStorage) -> None:
    """A second attempt would find the name taken, by itself."""
    async with cable(server) as wire, opened(storage) as other, opened(storage, endpoints=(wire.endpoint,)) as store:
        async with other.watch(NODE, (await other.list(NODE)).revision) as events:
            wire.loses_answers = True
            async with asyncio.TaskGroup() as group:
                creating = group.create_task(unavailable(lambda: store.create(node("n1"), {})))
                written = await next_change(events)
                wire.loses_answers = False
                await wire.cut()
                await wire.plug_in()
            assert creating.result()
        assert await until_it_works(lambda: store.get(node("n1"))) == written.object


async def test_a_frozen_server_is_unavailable_in_time_and_thaws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "GUARD_SECONDS", 0.1)
    with etcd_server() as server:
        async with opened(EtcdStorage(endpoints=(server.endpoint,))) as store:
            made = await store.create(node("n1"), {"n": 0})
            async with store.watch(NODE, made.revision) as events:
                monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.5)
                server.process.freeze()
                for call in (
                    lambda: store.get(made.key),
                    lambda: store.list(NODE),
                    lambda: store.create(node("n2"), {}),
                    lambda: store.update(replace(made, document=b"{}")),
                    lambda: store.delete(made.key),
                    lambda: store.watch(NODE, made.revision).__aenter__(),
                ):
                    began = time.monotonic()
                    with pytest.raises(Unavailable):
                        await call()
                    assert time.monotonic() - began < 5 * limits.STORE_TIMEOUT_SECONDS
                with pytest.raises(Unavailable):
                    await next_change(events)
            server.process.thaw()
            monkeypatch.undo()
            await until_it_works(lambda: store.list(NODE), guard_seconds=5)


@pytest.mark.parametrize("error", [asyncio.CancelledError, RuntimeError], ids=lambda each: each.__name__)
async def test_who_reads_a_watch_hears_of_its_end_however_that_comes(
    server: Server, storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """A CancelledError ends a task without a word, and Python 3.11.2 lets one out of a timeout where nobody cancelled."""

    async def end(_: following.Following) -> None:
        raise error

    monkeypatch.setattr(following.Following, "_drain", end)
    async with opened(storage) as store:
        made = await store.create(node("n1"), {})
        async with store.watch(NODE, made.revision) as events, asyncio.timeout(HANG_SECONDS):
            with pytest.raises(Unavailable, match="has ended"):
                await next_change(events)


async def test_a_cluster_loses_its_leader_and_its_quorum(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster(3) as servers:
        storage = EtcdStorage(endpoints=tuple(server.endpoint for server in servers))
        async with opened(storage) as store:
            start = (await until_it_works(lambda: store.list(NODE))).revision
            async with store.watch(NODE, start) as events:
                await store.create(node("n0"), {})
                first = leader_of(servers)
                first.close()
                began = time.monotonic()
                made = await until_it_works(lambda: store.create(node("n1"), {}))
                assert time.monotonic() - began < 5 * limits.STORE_TIMEOUT_SECONDS
                assert [change.object.key.name for change in await changes_until(events, made.revision)] == ["n0", "n1"]
                moved = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "etcd.moved"]
                assert all(each["endpoint"] != each["now"] for each in moved)
                second = next(server for server in servers if server is not first)
                second.close()
                monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 1.0)
                for call in (lambda: store.list(NODE), lambda: store.create(node("n2"), {})):
                    with pytest.raises(Unavailable):
                        await call()
                with pytest.raises(Unavailable):  # although the connection to the last member stands
                    await next_change(events)
            await asyncio.to_thread(second.start)
            monkeypatch.undo()
            late = await until_it_works(lambda: store.update(made.with_manifest({**made.manifest(), "late": True})))
            assert (await store.list(NODE)).objects[1] == late


# --- watches


def stay_cut_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test does during a cut may take longer, on a busy machine, than a watch that is cut waits."""
    monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", HANG_SECONDS)


async def test_a_cut_watch_resumes_where_it_was(server: Server, storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    stay_cut_for_long(monkeypatch)
    async with cable(server) as wire, opened(storage) as other, opened(storage, endpoints=(wire.endpoint,)) as store:
        start = (await store.list(NODE)).revision
        async with store.watch(NODE, start) as events:
            made = [await other.create(node("n0"), {})]
            assert (await next_change(events)).object == made[0]
            for round_ in range(1, 4):
                await wire.cut()
                made += [await other.create(node(f"n{round_}-{number}"), {}) for number in range(30)]
                await wire.plug_in()
                assert [change.object for change in await changes_until(events, made[-1].revision)] == made[-30:]


async def test_a_watch_cut_while_catching_up_misses_and_repeats_nothing(
    server: Server, storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What etcd sends then comes in parts, whose headers say how far it is, and not how far they go. The reader is slow."""
    monkeypatch.setattr(limits, "WATCH_BUFFER", 50)
    monkeypatch.setattr(following, "GUARD_SECONDS", 0.05)
    stay_cut_for_long(monkeypatch)
    async with cable(server) as wire, opened(storage) as other, opened(storage, endpoints=(wire.endpoint,)) as store:
        start = (await store.list(NODE)).revision
        async with store.watch(NODE, start) as events:
            await next_change_of(other, events)
            await wire.cut()
            made = [item.revision for part in range(7) for item in await create_many(other, 500, prefix=f"n{part}")]
            await wire.plug_in()
            seen = []
            for _ in range(4):
                seen += [(await next_change(events)).object.revision for _ in range(600)]
                await wire.cut()
                await wire.plug_in()
            seen += [change.object.revision for change in await changes_until(events, max(made))]
    assert seen == sorted(made)


async def test_compaction_behind_a_cut_watch_is_expired(
    server: Server, storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay_cut_for_long(monkeypatch)
    async with cable(server) as wire, opened(storage) as other, opened(storage, endpoints=(wire.endpoint,)) as store:
        start = (await store.list(NODE)).revision
        async with store.watch(NODE, start) as events:
            await next_change_of(other, events)
            await wire.cut()
            for number in range(5):
                await other.create(node(f"n{number}"), {})
            monkeypatch.setattr(limits, "HISTORY_REVISIONS", 0)
            await other._compactor.round()
            assert await other._compactor.round()
            await wire.plug_in()
            for _ in range(2):
                with pytest.raises(Expired):
                    await next_change(events)
        assert len((await store.list(NODE)).objects) == 6


async def test_compaction_just_before_watching_is_expired(storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is then opened, and cancelled a moment later."""
    async with opened(storage) as store:
        start = (await store.list(NODE)).revision
        for number in range(3):
            newest = (await store.create(node(f"n{number}"), {})).revision
        monkeypatch.setattr(limits, "HISTORY_REVISIONS", 0)
        await store._compactor.round()
        assert await store._compactor.round()

        async def as_before(_watch: following.Following) -> int:
            return newest

        monkeypatch.setattr(following.Following, "_check_kept", as_before)
        async with store.watch(NODE, start) as events:
            for _ in range(2):
                with pytest.raises(Expired):
                    await next_change(events)


async def next_change_of(store: EtcdStore, events: object) -> None:
    made = await store.create(node("first"), {})
    assert (await next_change(events)).object == made  # type: ignore[arg-type]


async def test_a_watch_that_falls_silent_is_opened_anew(
    storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server forgets the stream: here it watches another key, as far as the server knows."""
    monkeypatch.setattr(following, "GUARD_SECONDS", 0.05)
    monkeypatch.setattr(following, "LATE_SECONDS", 0.05)
    async with opened(storage) as store:
        start = (await store.list(NODE)).revision
        right = store._documents.span
        monkeypatch.setattr(store._documents, "span", lambda kind: right(kind) if opens() else (b"/elsewhere/", b"/elsewhere0"))
        asked = count()

        def opens() -> bool:
            return next(asked) != 1  # the first stream; the read before it and everything later are as they should be

        async with store.watch(NODE, start) as events:
            made = await store.create(node("n1"), {})
            assert (await next_change(events)).object == made
    # grpc's poller is the whole process's, and may stumble over the loop of a test before this one.
    assert [each for each in caplog.records if each.name.startswith("k3.")] == [], "nobody has to know"


async def test_an_idle_watch_is_bookmarked(storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BOOKMARK_SECONDS", 0.05)
    async with opened(storage) as store:
        made = await store.create(node("n1"), {})
        async with store.watch(NODE, made.revision - 1) as events:
            assert await next_change(events) == Change("ADDED", made)
            async with asyncio.timeout(HANG_SECONDS):
                assert [await anext(events) for _ in range(3)] == [Bookmark(made.revision)] * 3


async def test_an_emptied_etcd_is_noticed_and_begun_anew() -> None:
    with etcd_server() as server:
        async with opened(EtcdStorage(endpoints=(server.endpoint,))) as store:
            made = [await store.create(node(f"n{number}"), {}) for number in range(10)][-1]
            first = store.id
            async with store.watch(NODE, made.revision) as events:
                server.close()
                data = next(word for word in server._argv if word.startswith("--data-dir=")).partition("=")[2]
                shutil.rmtree(Path(data) / "member")
                await asyncio.to_thread(server.start)
                with pytest.raises((Expired, Unavailable)):
                    await next_change(events)
            assert (await until_it_works(lambda: store.list(NODE))).objects == ()
            assert store.id != first
            again = await store.create(made.key, {})
            assert again.uid != made.uid


# --- logins


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with etcd_server("--auth-token-ttl=1", "--bcrypt-cost=4") as server:
        add_users(server, "/kubernetes")
        yield server


def login(server: Server, user: str, password: str = "") -> EtcdStorage:
    return EtcdStorage(endpoints=(server.endpoint,), username=user, password=password or f"{user}-secret", compact=False)


async def test_logins_that_are_refused_say_why(locked: Server) -> None:
    async with opened(login(locked, "k3")):
        pass
    assert "user k3: unknown name or wrong password" in await refusal(login(locked, "k3", "wrong-secret"), Forbidden)
    assert "wants a user" in await refusal(EtcdStorage(endpoints=(locked.endpoint,)), Forbidden)
    said = await refusal(login(locked, "nobody"), Forbidden)
    assert "denies user nobody" in said
    assert "etcdctl role grant-permission" in said


async def test_rights_that_change_under_a_running_store(caplog: pytest.LogCaptureFixture) -> None:
    """Users come, lose a right, get it back, go: the store says what is wrong, and needs no restart when it is right."""
    with etcd_server("--bcrypt-cost=4") as server:
        async with opened(login(server, "k3")) as inner, opened(EtcdStorage(endpoints=(server.endpoint,))) as nobody:
            store, nameless = EnduringStore(inner), EnduringStore(nobody)
            made = await store.create(node("n1"), {})
            add_users(server, "/kubernetes")
            assert await store.get(made.key) == made
            with pytest.raises(Unavailable, match=r"wants a user: set storage.etcd.username"):
                await nameless.get(made.key)
            root = gateway(server, "auth/authenticate", {"name": "root", "password": "root-secret"})["token"]
            gateway(server, "auth/user/revoke", {"name": "k3", "role": "k3"}, token=root)
            for call in (store.list(NODE), store.create(node("n2"), {})):
                with pytest.raises(Unavailable, match="etcdctl role grant-permission"):
                    await call
            gateway(server, "auth/user/grant", {"user": "k3", "role": "k3"}, token=root)
            await store.create(node("n3"), {})
            assert len((await store.list(NODE)).objects) == 2
            gateway(server, "auth/disable", {}, token=root)
            await nameless.list(NODE)
            await store.create(node("n4"), {})
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"].count("store.lost") == 2


async def test_who_may_only_read_reads_and_watches(locked: Server) -> None:
    async with opened(login(locked, "k3")) as store, opened(login(locked, "reader")) as reader:
        start = (await reader.list(NODE)).revision
        async with reader.watch(NODE, start) as events:
            made = await store.create(node("seen"), {})
            assert (await next_change(events)).object == made
        with pytest.raises(Forbidden, match="denies user reader"):
            await reader.create(node("unwanted"), {})


async def test_a_watch_without_rights_is_forbidden_at_once(locked: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(login(locked, "k3")):
        pass  # a reader cannot give the store its id
    async with opened(login(locked, "reader")) as reader:
        start = (await reader.list(NODE)).revision
        right = reader._documents.span
        spans = iter([right(NODE), (b"/secrets/", b"/secrets0")])
        monkeypatch.setattr(reader._documents, "span", lambda _: next(spans))
        with pytest.raises(Forbidden, match="denies user reader"):
            async with reader.watch(NODE, start):
                pass


async def test_an_expired_token_is_renewed(locked: Server) -> None:
    async with opened(login(locked, "k3")) as store:
        made = await store.create(node("renewed"), {"n": 0})
        async with store.watch(NODE, made.revision) as events:
            token = store._client.metadata
            # Looking whether it has expired would keep it alive.
            await asyncio.sleep(3)
            changed = await store.update(made.with_manifest({**made.manifest(), "n": 1}))
            assert store._client.metadata != token
            assert (await next_change(events)).object == changed


async def test_a_login_survives_a_restart() -> None:
    with etcd_server("--bcrypt-cost=4") as server:
        add_users(server, "/kubernetes")
        async with opened(login(server, "k3")) as store:
            made = await store.create(node("n1"), {})
            async with store.watch(NODE, made.revision) as events:
                server.close()
                await asyncio.to_thread(server.start)
                second = await until_it_works(lambda: store.create(node("n2"), {}), guard_seconds=5)
                assert (await next_change(events)).object == second


# --- certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl(1), to make certificates")
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


async def test_tls_and_what_goes_wrong_with_it(certificates: Path, server: Server) -> None:
    ca = str(certificates / "ca.crt")
    with tls_server(certificates, "server", asks_clients=False) as storage:
        async with opened(storage, ca_file=ca) as store:
            made = await store.create(node("n1"), {})
            assert await store.get(node("n1")) == made
        stranger = str(certificates / "stranger.crt")
        assert "not signed by a known CA" in await refusal(replace(storage, ca_file=stranger), Forbidden)
        plain = (storage.endpoints[0].replace("https", "http"),)
        assert "is it https:// there?" in await refusal(replace(storage, endpoints=plain), Unavailable)
        with_tls = EtcdStorage(endpoints=(server.endpoint.replace("http", "https"),), ca_file=ca)
        assert "is it http:// there?" in await refusal(with_tls, Unavailable)
        assert "ca_file: /none: No such file" in await refusal(replace(storage, ca_file="/none"), StartFailed)


async def test_a_certificate_for_another_name_is_refused(certificates: Path) -> None:
    with tls_server(certificates, "misnamed", asks_clients=False) as storage:
        said = await refusal(replace(storage, ca_file=str(certificates / "ca.crt")), Forbidden)
        assert "is for another name" in said


async def test_mutual_tls(certificates: Path) -> None:
    with tls_server(certificates, "server", asks_clients=True) as bare:
        storage = replace(bare, ca_file=str(certificates / "ca.crt"))
        known = {"cert_file": str(certificates / "client.crt"), "key_file": str(certificates / "client.key")}
        async with opened(storage, **known) as store:
            await store.create(node("n1"), {})
        assert "wants a client certificate" in await refusal(storage, Forbidden)
        assert "belong together" in await refusal(replace(storage, cert_file=known["cert_file"]), StartFailed)


# --- what others write


FOREIGN: Final = """{
  "kind": "Node", "apiVersion": "v1",
  "metadata": {"name": "web1", "labels": {"team": "\\u00e4"}, "x-theirs": [1, {"deep": null}]},
  "spec": {"podCIDR": "10.0.0.0/24"}, "future": 1.50
}"""


async def test_a_foreign_manifest_is_read_watched_and_updated_whole(server: Server, storage: EtcdStorage) -> None:
    key = f"{storage.prefix}//v1/Node/web1"
    async with opened(storage) as store:
        start = (await store.list(NODE)).revision
        async with store.watch(NODE, start) as events:
            put(server, key, FOREIGN)
            found = await store.get(node("web1"))
            assert await next_change(events) == Change("ADDED", found)
            assert (found.document.decode(), found.created) == (FOREIGN, "")
            assert found.uid
            assert await store.update(found.with_manifest(found.manifest())) == found
            assert read(server, key) == FOREIGN.encode()
            changed = await modify(store, node("web1"), lambda manifest: {**manifest, "status": {"k3": True}})
            assert await next_change(events) == Change("MODIFIED", changed)
            assert changed.uid == found.uid
        stored = json.loads(read(server, key) or b"")
        assert stored == {**json.loads(FOREIGN), "status": {"k3": True}}


async def test_a_foreign_uid_is_kept_and_one_that_goes_is_replaced(server: Server, storage: EtcdStorage) -> None:
    key = f"{storage.prefix}//v1/Node/web1"
    async with opened(storage) as store:
        put(server, key, '{"metadata":{"uid":"theirs","creationTimestamp":"2020-01-01T00:00:00Z"}}')
        found = await store.get(node("web1"))
        assert (found.uid, found.created) == ("theirs", "2020-01-01T00:00:00Z")
        bare = await store.update(replace(found, document=b'{"metadata":{}}'))
        assert bare.uid != "theirs"
        assert await store.get(node("web1")) == bare
        put(server, key, '{"metadata":{"uid":["odd"]}}')
        assert (await store.get(node("web1"))).uid == bare.uid
        with pytest.raises(Conflict):
            await store.update(replace(found, document=b"{}"))


@pytest.mark.parametrize("value", [document for document, _ in ODD.values()], ids=ODD)
async def test_what_cannot_be_read_is_there_and_told_of_once(
    server: Server, storage: EtcdStorage, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"{storage.prefix}//v1/Node/web1"
    async with opened(storage) as store:
        good = await store.create(node("good"), {})
        async with store.watch(NODE, good.revision) as events:
            put(server, key, value)
            put(server, key, value + b" ")
            made = await store.create(node("later"), {})
            for type_, document in (("ADDED", value), ("MODIFIED", value + b" ")):
                odd = await next_change(events)
                assert (odd.type, odd.object.key, odd.object.document) == (type_, node("web1"), document)
                assert odd.object.unreadable
            assert await next_change(events) == Change("ADDED", made)
            put(server, key, '{"spec":{}}')
            found = await store.get(node("web1"))
            assert await next_change(events) == Change("MODIFIED", found)
            assert not found.unreadable
            put(server, key, value)
            odd = await next_change(events)
            assert (odd.type, odd.object.uid, odd.object.document) == ("MODIFIED", found.uid, value)
        assert [item.key.name for item in (await store.list(NODE)).objects] == ["good", "later", "web1"]
        with pytest.raises(Conflict):
            await store.update(found)
        assert read(server, key) == value
        with pytest.raises(Invalid, match="not written over"):
            await modify(store, node("web1"), lambda found: {**found, "mine": 1})
        assert read(server, key) == value
        await store.delete(node("web1"))
        assert read(server, key) is None
    assert [record.getMessage() for record in caplog.records].count("etcd.not_an_object") == 1


async def test_odd_keys_are_passed_over(server: Server, storage: EtcdStorage) -> None:
    async with opened(storage) as store:
        for odd in ("a/b", "", "\x01", "ä", "n" * 300):
            put(server, f"{storage.prefix}//v1/Node/{odd}", "{}")
        made = [await store.create(node(name), {}) for name in ("a", "b", "c")]
        assert (await store.list(NODE)).objects == tuple(made)
        page = await store.list(NODE, limit=2)
        assert page.objects == (made[0], made[1])
        assert (await store.list(NODE, limit=2, after=page.after, at=page.revision)).objects == (made[2],)


# --- size


async def fill(store: EtcdStore) -> None:
    for number in range(40):
        await store.create(node(f"n{number}"), {"x": "x" * 1_000_000})


async def test_a_full_etcd_says_what_to_do() -> None:
    with etcd_server(f"--quota-backend-bytes={4 * 1024 * 1024}") as server:
        async with opened(EtcdStorage(endpoints=(server.endpoint,))) as store:
            with pytest.raises(Unavailable, match=r"is full \(NOSPACE alarm\).*etcdctl defrag"):
                await fill(store)
            assert (await store.list(NODE)).objects


@pytest.mark.slow
async def test_the_database_stays_as_large_as_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_REVISIONS", 250)
    with etcd_server() as server:
        async with opened(EtcdStorage(endpoints=(server.endpoint,), compact=False)) as store:
            items = [await store.create(node(f"n{number}"), {"x": "x" * 3_000, "n": 0}) for number in range(20)]

            async def update(index: int, number: int) -> None:
                item = items[index]
                items[index] = await store.update(item.with_manifest({**item.manifest(), "n": number}))

            sizes = []
            for number in range(1, 251):
                await asyncio.gather(*(update(index, number) for index in range(len(items))))
                if number % 25 == 0:
                    await store._compactor.round()
                    sizes.append((await store._client.read(messages.STATUS, messages.StatusRequest())).dbSize)
    assert sizes[-1] < 1.3 * sizes[3], sizes
