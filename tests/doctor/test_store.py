"""What is said of a store that refuses: k3's own error, taken apart into the cause, what to do, and the command."""

import os
import threading
from pathlib import Path

import pytest

from k3.agent.info import Info
from k3.agent.local import LocalAgent
from k3.agent.tasks import time_limit
from k3.core.errors import Damaged, Forbidden, K3Error, Unavailable
from k3.core.observation import Facts
from k3.doctor import store
from k3.doctor.finding import Severity, Subject, is_healthy
from k3.doctor.machine import Case
from k3.settings.structs import NetworkConfig, Reader, Storage
from k3.stores import connect
from k3.stores.etcd.settings import EtcdStorage
from k3.stores.mysql.settings import MysqlStorage
from k3.stores.sqlite import SqliteStorage

FILE = SqliteStorage(Path("/srv/my data/k3.db"))


def case(storage: Storage) -> Case:
    return Case(network=NetworkConfig(storage=storage), reader=Reader(" --store URL"), discovery=None, state_dir=Path("/x"))


SQL = "CREATE DATABASE IF NOT EXISTS `nodb`; GRANT SELECT ON `nodb`.* TO 'k3'@'%';"
MOVED_AWAY = (
    "mkdir -p '/srv/my data/k3.db.damaged' && find '/srv/my data' -maxdepth 1 -type f \\( -name k3.db -o -name 'k3.db-*' \\) "
    "-exec mv -t '/srv/my data/k3.db.damaged' {} +"
)


@pytest.mark.parametrize(
    ("storage", "error", "cause", "do", "command"),
    [
        (
            MysqlStorage(),
            Forbidden("mysql h:1: user k3 lacks rights on database k3; as administrator run: GRANT ALL ON `k3`.* TO 'k3'@'%';"),
            "The store refuses this user: mysql h:1: user k3 lacks rights on database k3.",
            "As administrator run:",
            "GRANT ALL ON `k3`.* TO 'k3'@'%';",
        ),
        (
            EtcdStorage(),
            Forbidden("etcd at h denies user a access to /k/: etcdctl role grant-permission ROLE --prefix=true readwrite /k/"),
            "The store refuses this user: etcd at h denies user a access to /k/.",
            "Correct that, and try again:",
            "etcdctl role grant-permission ROLE --prefix=true readwrite /k/",
        ),
        (
            EtcdStorage(),
            Unavailable("no etcd answers at http://127.0.0.1:2379 (connection refused): start it, or correct the endpoints"),
            "The store does not answer, or takes no writes: no etcd answers at http://127.0.0.1:2379 (connection refused).",
            "Start it, or correct the endpoints.",
            "systemctl restart etcd",
        ),
        (
            MysqlStorage(),
            Forbidden(f"no database nodb; as administrator run: {SQL}"),
            "The store refuses this user: no database nodb.",
            "As administrator run:",
            SQL,
        ),
        (
            EtcdStorage(),
            Unavailable("it hangs; is it https:// there?"),
            "The store does not answer, or takes no writes: it hangs.",
            "Is it https:// there?",
            "systemctl restart etcd",
        ),
        (
            FILE,
            Damaged("/srv/my data/k3.db: the file was emptied while in use; restore a copy"),
            "The store is damaged: /srv/my data/k3.db: the file was emptied while in use.",
            "Restore a copy.",
            MOVED_AWAY,
        ),
    ],
)
def test_an_error_says_the_cause_what_to_do_and_the_command(
    storage: Storage, error: K3Error, cause: str, do: str, command: str
) -> None:
    found = store._failed(case(storage), error)
    assert (found.severity, found.what, found.do) == (Severity.PROBLEM, cause, do)
    assert found.commands[0] == command
    assert found.commands[-1] == "k3 store check --store URL"


async def test_a_store_that_is_not_made_yet_is_no_problem(tmp_path: Path) -> None:
    seen = await store.look(case(SqliteStorage(tmp_path / "new" / "k3.db")), seconds=5.0)
    assert is_healthy(seen.findings)
    assert not os.listdir(tmp_path), "nothing is made by looking"  # noqa: PTH208 - one call


async def test_a_disk_that_hangs_does_not_stand_the_doctor_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_back = threading.Event()

    def hang(_: object) -> None:
        is_back.wait(30)
        raise OSError

    monkeypatch.setattr(os, "statvfs", hang)
    with pytest.raises(TimeoutError):
        async with time_limit(0.2):
            await store.look(case(SqliteStorage(tmp_path / "k3.db")), seconds=5.0)
    assert not is_back.is_set()
    is_back.set()


async def test_an_agent_on_another_store_is_said_where_the_one_looked_at_is_not_made_yet(tmp_path: Path) -> None:
    looked_at = case(SqliteStorage(tmp_path / "k3.db"))
    seen = await store.look(looked_at, seconds=10)
    info = Info(facts=Facts(node="a", port=7946), store_id="4f6b2c")
    [told] = store.agreement(looked_at, seen, LocalAgent(host="", port=7946, info=info))
    assert "uses another store than" in told.what
    assert told.do == "Give the same one: k3 doctor --store URL."
    assert not list(store.agreement(looked_at, seen, LocalAgent(host="", port=7946)))


async def test_a_file_that_is_not_read_in_time_is_not_called_broken(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "k3.db")
    await (await connect(storage)).aclose()
    seen = await store.look(case(storage), seconds=0)
    assert [each.is_unfinished for each in seen.findings if each.subject is Subject.STORE][-1]
    assert all(each.severity is not Severity.PROBLEM for each in seen.findings)
