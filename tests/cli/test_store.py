"""`k3 store check` and `k3 store copy`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3.core.errors import Conflict
from k3.core.objects import EVENT, LEASE, NODE, Key, Manifest, Object
from k3.core.store import Store
from k3.stores.copying import copy
from k3.stores.memory import MemoryStore
from tests.cli.conftest import K3, StoreFile
from tests.servers import Mariadb, mariadb_server


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb_server() as server:
        yield server


def mysql_url(server: Mariadb, name: str) -> str:
    return f"mysql://{server.user}@{server.address}:{server.port}/{server.new_database(name)}"


# --- check


def test_check_says_what_the_store_is(k3: K3, store: StoreFile) -> None:
    shown = k3("store", "check", "--store", store.url)
    assert (shown.code, shown.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines() if not line.startswith("round trip"))
    assert lines["store"] == store.url
    assert lines["objects"] == "3 nodes, 0 events, 0 leases, 0 tokens"
    assert lines["rights"] == "read: yes, write: yes"
    assert len(lines["id"]) == 36
    assert "round trip  " in shown.out


def test_check_leaves_nothing_and_read_only_writes_nothing(k3: K3, store: StoreFile) -> None:
    def revision(*flags: str) -> int:
        out = k3("store", "check", "--store", store.url, *flags).out
        return int(next(line.split()[1] for line in out.splitlines() if line.startswith("revision")))

    first = revision("--read-only")
    assert revision("--read-only") == first
    assert revision() == first + 2  # a Lease, created and deleted
    assert "0 leases" in k3("store", "check", "--store", store.url).out
    assert "write: not tried" in k3("store", "check", "--store", store.url, "--read-only").out


def test_check_does_not_make_a_store(k3: K3, tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    shown = k3("store", "check", "--store", f"sqlite://{missing}")
    assert shown.code == 3
    assert shown.err.startswith(f"k3: no store at sqlite://{missing}")
    assert not missing.exists()


@pytest.mark.servers("mariadb")
@pytest.mark.xdist_group("mariadb")
def test_check_of_a_server(k3: K3, server: Mariadb, monkeypatch: pytest.MonkeyPatch) -> None:
    url = mysql_url(server, "check")
    monkeypatch.setenv("K3_STORE_PASSWORD", server.password)
    shown = k3("store", "check", "--store", url)
    assert shown.code == 0, shown
    assert f"store       {url}" in shown.out
    assert "MariaDB" in shown.out
    assert "schema      1" in shown.out
    server.sql("CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON `k3%`.* TO reader@'%'")
    shown = k3("store", "check", "--store", url.replace("k3@", "reader@"))
    assert shown.code == 1
    assert "write: no" in shown.out
    assert "as administrator run: GRANT" in shown.err


@pytest.mark.servers("mariadb")
@pytest.mark.xdist_group("mariadb")
def test_check_names_what_is_wrong_in_one_line_without_secrets(
    k3: K3, server: Mariadb, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mysql_url(server, "check")
    for password, where, code, why in (
        ("wrong-pa55word", url, 1, "user k3 is refused: wrong password"),
        (server.password, url.replace(f":{server.port}", ":1"), 4, "cannot be reached"),
        (server.password, url.replace("k3_check", "other"), 1, "as administrator run: CREATE DATABASE"),
    ):
        monkeypatch.setenv("K3_STORE_PASSWORD", password)
        shown = k3("store", "check", "--store", where)
        assert shown.code == code
        assert shown.out == ""
        assert shown.err.count("\n") == 1
        assert why in shown.err
        assert "wrong-pa55word" not in shown.err


# --- copy


def fill(store: StoreFile) -> None:
    async def more(handle: Store) -> None:
        await handle.create(Key(EVENT, "e.1", "default"), {"message": "ä"})
        await handle.create(Key(LEASE, "l", "kube-system"), {"spec": {"x": [1, None]}})

    store._do(more)


def test_copy_brings_everything_and_may_be_repeated(k3: K3, store: StoreFile, tmp_path: Path) -> None:
    fill(store)
    other = StoreFile(tmp_path / "other.db")
    shown = k3("store", "copy", store.url, other.url)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "nodes: 3 copied and verified (3 created, 0 updated, 0 already there)",
        "events: 1 copied and verified (1 created, 0 updated, 0 already there)",
        "leases: 1 copied and verified (1 created, 0 updated, 0 already there)",
        "tokens: 0 copied and verified (0 created, 0 updated, 0 already there)",
    ]
    store.put("web1", {"spec": {"unschedulable": True}})
    other.put("extra")
    again = k3("store", "copy", store.url, other.url)
    assert again.out.splitlines()[0] == (
        "nodes: 2 copied and verified (0 created, 0 updated, 2 already there); "
        "left as they are in the target, and different: 1 (--overwrite replaces them); the target has 1 others"
    )

    def spec() -> object:
        return other._do(lambda handle: handle.get(Key(NODE, "web1"))).manifest()["spec"]

    assert spec() == {}
    again = k3("store", "copy", store.url, other.url, "--overwrite")
    assert again.out.splitlines()[0] == (
        "nodes: 3 copied and verified (0 created, 1 updated, 2 already there); the target has 1 others"
    )
    assert spec() == {"unschedulable": True}
    assert k3("store", "copy", store.url, other.url).out.splitlines()[0].count("0 created, 0 updated, 3 already there") == 1


@pytest.mark.servers("mariadb")
@pytest.mark.xdist_group("mariadb")
def test_copy_between_backends_and_back(
    k3: K3, store: StoreFile, server: Mariadb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setenv("K3_STORE_PASSWORD", server.password)
    url = mysql_url(server, "copy")
    assert k3("store", "copy", store.url, url).code == 0
    back = StoreFile(tmp_path / "back.db")
    assert k3("store", "copy", url, back.url).code == 0

    def contents(file: StoreFile) -> dict[str, object]:
        def content(manifest: dict[str, object]) -> dict[str, object]:
            metadata = manifest["metadata"]
            assert isinstance(metadata, dict)
            for name in ("uid", "resourceVersion", "creationTimestamp"):
                del metadata[name]
            return manifest

        async def read(handle: Store) -> dict[str, object]:
            pages = [await handle.list(kind) for kind in (NODE, EVENT, LEASE)]
            return {item.key.path: content(item.manifest()) for page in pages for item in page.objects}

        return file._do(read)

    assert contents(back) == contents(store)
    assert len(contents(store)) == 5


def test_copy_onto_itself_is_refused(k3: K3, store: StoreFile) -> None:
    shown = k3("store", "copy", store.url, store.url)
    assert shown.code == 2
    assert "are the same store" in shown.err


def test_copy_from_nothing_is_not_found_and_makes_nothing(k3: K3, tmp_path: Path) -> None:
    shown = k3("store", "copy", f"sqlite://{tmp_path}/none.db", f"sqlite://{tmp_path}/new.db")
    assert shown.code == 3
    assert list(tmp_path.glob("*.db")) == []


def test_a_bar_that_nobody_can_see_stops_no_copy(
    k3: K3, store: StoreFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            raise BrokenPipeError(text)

        def flush(self) -> None:
            pass

        def fileno(self) -> int:
            return 2

    monkeypatch.setattr(sys, "stderr", Closed())
    other = StoreFile(tmp_path / "other.db")
    assert k3("store", "copy", store.url, other.url).code == 0
    assert len(other.names()) == 3


class Raided(MemoryStore):
    """Somebody deletes n1 as soon as it is there."""

    async def create(self, key: Key, manifest: Manifest) -> Object:
        made = await super().create(key, manifest)
        if key.name == "n1":
            await self.delete(key)
        return made


async def test_what_is_missing_in_the_end_is_said() -> None:
    source, target = MemoryStore(), Raided()
    for number in range(3):
        await source.create(Key(NODE, f"n{number}"), {})
    seen: list[tuple[int, int]] = []
    with pytest.raises(Conflict, match=r"lacks 1 of 3 nodes \(Node n1\)"):
        await copy(source, target, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 3)]
    await target.aclose()
    await source.aclose()


def test_a_terminal_gets_a_bar(store: StoreFile, tmp_path: Path) -> None:
    main, theirs = os.openpty()
    argv = [sys.executable, "-m", "k3.cli", "store", "copy", store.url, f"sqlite://{tmp_path}/other.db"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=theirs, env=dict(os.environ), timeout=60, check=True)
    os.close(theirs)
    shown = os.read(main, 65_536).decode()
    os.close(main)
    assert f"[{'#' * 40}] 3/3\r\n" in shown
    assert b"nodes: 3 copied" in done.stdout


def test_a_command_that_is_not_there(k3: K3) -> None:
    shown = k3("store", "compact")
    assert shown.code == 2
    assert 'unknown store command "compact", expected check or copy' in shown.err
    assert k3("store", "--help").out == k3("help", "store").out
    for verb in ("check", "copy"):
        assert f"examples:\n  k3 store {verb}" in k3("store", verb, "--help").out.replace("K3_STORE_PASSWORD=... ", "")
