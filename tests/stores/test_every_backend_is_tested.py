"""Each backend that there is has a test file here that runs the suite and the state machine."""

from pathlib import Path

import pytest

from k3.settings import backends
from k3.settings.backends import Backend
from k3.settings.storage import read_url
from k3.settings.structs import Storage
from k3.stores import etcd, kubernetes, memory, mysql, sqlite

HERE = Path(__file__).parent

OURS: list[Backend] = [memory, sqlite, mysql, etcd, kubernetes]
"""The type checker holds each to what `Backend` asks for."""

STRUCTS: list[Storage] = [
    memory.MemoryStorage(),
    sqlite.SqliteStorage(Path("/x")),
    mysql.MysqlStorage(),
    etcd.EtcdStorage(),
    kubernetes.KubernetesStorage(),
    kubernetes.KubernetesStorage(server="https://hub:8443/k8s", ca_file="/ca.crt", token_file="/token", server_name="hub"),
    kubernetes.KubernetesStorage(server="http://127.0.0.1:8080"),
    kubernetes.KubernetesStorage(kubeconfig="/etc/k3/a b", context="hub"),
]


def test_there_are_backends() -> None:
    assert set(backends.types()) == {"memory", "sqlite", "mysql", "etcd", "kubernetes"}
    assert [backends.load(each.TYPE) for each in OURS] == OURS


@pytest.mark.parametrize("name", backends.types())
def test_it_has_a_test_file(name: str) -> None:
    text = (HERE / f"test_{name}.py").read_text()
    assert "(StoreSuite)" in text
    assert "(StoreMachine)" in text


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda each: each.url)
def test_a_store_has_one_url(struct: Storage) -> None:
    url = read_url(struct.url, "--store")
    assert backends.load(url.type).storage(url.settings, default_path=Path("/nowhere"), where="--store") == struct
