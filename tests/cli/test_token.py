"""`k3 token` and `k3 kubeconfig`."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from k3.core.objects import TOKEN, Key
from k3.server.access.certificates import own_authority
from k3.settings.load import Place
from tests.cli.conftest import K3, StoreFile


def create(k3: K3, store: StoreFile, *flags: str) -> str:
    shown = k3("token", "create", "--store", store.url, *flags)
    assert shown.code == 0, shown.err
    return shown.out.strip()


def test_a_token_is_printed_once_listed_without_its_secret_and_revoked(k3: K3, store: StoreFile) -> None:
    token = create(k3, store, "--role", "agent", "--node", "web1", "--ttl", "24h")
    assert re.fullmatch(r"k3\.[0-9a-f]{10}\.[0-9a-f]{40}", token)
    _, id_, secret = token.split(".")
    table = k3("token", "list", "--store", store.url)
    assert table.out.splitlines()[0].split() == ["ID", "ROLE", "NODE", "CREATED", "EXPIRES"]
    assert table.out.splitlines()[1].split()[:3] == [id_, "agent", "web1"]
    (found,) = json.loads(k3("token", "list", "-o", "json", "--store", store.url).out)
    assert (found["id"], found["role"], found["node"]) == (id_, "agent", "web1")
    assert secret not in table.out + table.err + json.dumps(found)
    assert secret.encode() not in store._do(lambda handle: handle.get(Key(TOKEN, id_))).document
    revoked = k3("token", "revoke", id_, "--store", store.url)
    assert (revoked.code, revoked.out) == (0, f'token "{id_}" revoked\n')
    again = k3("token", "revoke", id_, "--store", store.url)
    assert (again.code, again.err) == (3, f"k3: no token {id_}; k3 token list shows those there are\n")
    assert k3("token", "list", "-o", "json", "--store", store.url).out == "[]\n"


def test_a_whole_token_is_revoked_by_its_id_and_never_repeated(k3: K3, store: StoreFile) -> None:
    token = create(k3, store, "--role", "view")
    shown = k3("token", "revoke", token, "nothing", "--store", store.url)
    assert shown.code == 3
    assert token.rpartition(".")[2] not in shown.out + shown.err
    assert k3("token", "revoke", token, "--store", store.url).err.startswith("k3: no token")


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "missing: --role"),
        (["--role", "root"], 2, "expected view, agent, admin"),
        (["--role", "view", "--node", "web1"], 2, "only with --role agent"),
        (["--role", "agent", "--node", "Web 1"], 2, "lower-case letters"),
        (["--role", "view", "--ttl", "soon"], 2, "--ttl"),
        (["--role", "view", "--ttl", "10ms"], 2, "1s or more"),
        (["--role", "view", "--ttl", "9999999h"], 2, "at most 87600h"),
    ],
)
def test_what_cannot_be_meant(k3: K3, store: StoreFile, flags: list[str], code: int, message: str) -> None:
    shown = k3("token", "create", "--store", store.url, *flags)
    assert (shown.code, message in shown.err, shown.out) == (code, True, "")
    assert json.loads(k3("token", "list", "-o", "json", "--store", store.url).out) == []


def test_a_store_that_no_server_reads(k3: K3) -> None:
    shown = k3("token", "create", "--role", "view", "--store", "memory://")
    assert (shown.code, "no server could read a token" in shown.err) == (2, True)


def test_tokens_are_in_no_list_of_nodes_and_are_copied(k3: K3, store: StoreFile, tmp_path: Path) -> None:
    token = create(k3, store, "--role", "admin")
    id_ = token.split(".")[1]
    for command in (["nodes", "-o", "json"], ["events"], ["nodes"]):
        assert id_ not in k3(*command, "--store", store.url).out
    assert "1 tokens" in k3("store", "check", "--store", store.url).out
    other = StoreFile(tmp_path / "other.db")
    assert "tokens: 1 copied" in k3("store", "copy", store.url, other.url).out
    assert json.loads(k3("token", "list", "-o", "json", "--store", other.url).out)[0]["id"] == id_


def test_a_kubeconfig_over_loopback_has_no_credential(k3: K3, store: StoreFile) -> None:
    shown = k3("kubeconfig", "--store", store.url)
    document = yaml.safe_load(shown.out)
    assert document["clusters"][0]["cluster"] == {"server": "http://127.0.0.1:8080"}
    assert document["users"] == [{"name": "k3", "user": {}}]
    assert "1 tokens" not in k3("store", "check", "--store", store.url).out


def test_a_kubeconfig_has_the_authority_and_a_new_token(
    k3: K3, store: StoreFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k3.cli.kubeconfig.here", lambda: Place({"XDG_STATE_HOME": str(tmp_path / "state")}, is_root=False))
    listen = ("--listen", "10.0.0.5:8443", "--store", store.url)
    before = k3("kubeconfig", *listen)
    assert (before.code, "start k3 server once" in before.err) == (1, True)
    directory = tmp_path / "state/k3/server"
    own_authority(directory, datetime.now(UTC))
    shown = k3("kubeconfig", *listen, "--role", "view")
    document = yaml.safe_load(shown.out)
    assert document["clusters"][0]["cluster"]["server"] == "https://10.0.0.5:8443"
    assert document["clusters"][0]["cluster"]["certificate-authority-data"]
    assert document["users"][0]["user"]["token"].startswith("k3.")
    (kept,) = json.loads(k3("token", "list", "-o", "json", "--store", store.url).out)
    assert kept["role"] == "view"
    shown = k3("kubeconfig", *listen, "--token", "mine", "--server", "https://hub.example:8443")
    assert yaml.safe_load(shown.out)["users"][0]["user"] == {"token": "mine"}
    shown = k3("kubeconfig", *listen, "--certificate", "--role", "agent", "--node", "web1")
    assert yaml.safe_load(shown.out)["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}
    assert len(json.loads(k3("token", "list", "-o", "json", "--store", store.url).out)) == 1


@pytest.mark.parametrize("server", ["hub", "ftp://hub", "https://", "https://a:b@hub", "https://hub:99999", "https://[::"])
def test_a_server_that_no_client_can_reach(k3: K3, store: StoreFile, server: str) -> None:
    shown = k3("kubeconfig", "--store", store.url, "--server", server)
    assert (shown.code, shown.err.startswith("k3: --server: bad value"), shown.out) == (2, True, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "list"),
        ("token", "revoke", "3f9a01c2b4"),
        ("token", "create", "--role", "view"),
        ("kubeconfig", "--server", "https://hub.example:8443", "--ca-file", "/dev/null"),
    ],
)
def test_a_server_is_not_asked_for_tokens_which_it_does_not_serve(k3: K3, arguments: tuple[str, ...]) -> None:
    shown = k3(*arguments, "--store", "http://127.0.0.1:1")
    told = (
        "k3: --store: tokens are not served over the Kubernetes API at http://127.0.0.1:1: name the store of the server there\n"
    )
    assert (shown.code, shown.out, shown.err) == (2, "", told)
