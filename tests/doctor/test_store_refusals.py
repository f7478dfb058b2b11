"""What is said of a store that refuses: the cause without the command in it, and commands that can be run as they stand."""

from pathlib import Path

import pytest

from k3.core.errors import Damaged, Forbidden, K3Error, Unavailable
from k3.doctor import store
from k3.settings.structs import Storage
from k3.stores.etcd import EtcdStorage
from k3.stores.mysql import MysqlStorage
from k3.stores.sqlite import SqliteStorage

MYSQL = MysqlStorage(host="127.0.0.1", user="k3", database="nodb")
GRANT = "CREATE DATABASE IF NOT EXISTS `nodb`; GRANT SELECT ON `nodb`.* TO 'k3'@'%';"


@pytest.mark.parametrize(
    ("storage", "error", "do", "commands"),
    [
        (MYSQL, Forbidden(f"no database nodb; as administrator run: {GRANT}"), "As administrator run:", (GRANT,)),
        (MYSQL, Forbidden("user k3 is refused: wrong password"), "", ()),
        (EtcdStorage(), Forbidden("it refuses user k3; set storage.etcd.password"), "Set storage.etcd.password.", ()),
        (EtcdStorage(), Unavailable("it hangs; is it https:// there?"), "Is it https:// there?", ("etcdctl", "systemctl")),
        (
            SqliteStorage(Path("/a b/k3.db")),
            Damaged("damaged; move it"),
            "Move it.",
            ("mkdir -p '/a b/k3.db.damaged' && find '/a b'",),
        ),
    ],
)
def test_a_refusal(storage: Storage, error: K3Error, do: str, commands: tuple[str, ...]) -> None:
    found = store._failed(storage, error)
    assert found.do == do
    assert not found.what.endswith(("?.", ".."))
    assert len(found.commands) == len(commands)
    assert all(command.startswith(begins) for command, begins in zip(found.commands, commands, strict=True))
