"""The starters themselves: each server answers, keeps its data over a kill, and is gone afterwards."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.lab import Lan, until
from tests.servers import Server, consul_agent, etcd_server, mariadb_server
from tests.servers.consul import serf
from tests.servers.server import left_running


def post(url: str, body: object, *, method: str = "POST") -> str:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method=method)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
        return str(answer.read().decode())


def is_gone(server: Server) -> bool:
    return not server.process.running and server not in left_running()


@pytest.mark.servers("etcd")
def test_etcd_answers_and_remembers() -> None:
    with etcd_server() as server:
        post(f"{server.endpoint}/v3/kv/put", {"key": "Zm9v", "value": "YmFy"})
        server.close()
        server.start()
        assert "YmFy" in post(f"{server.endpoint}/v3/kv/range", {"key": "Zm9v"})
        data = Path(next(word for word in server._argv if word.startswith("--data-dir=")).partition("=")[2])
        assert data.exists()
    assert is_gone(server)
    assert not data.exists()


@pytest.mark.servers("mariadb")
def test_mariadb_answers_and_remembers() -> None:
    with mariadb_server() as server:
        name = server.new_database("one")
        server.sql(f"CREATE TABLE {name}.t (n INT) ENGINE=InnoDB; INSERT INTO {name}.t VALUES (42);")
        server.close()
        server.start()
        assert server.sql(f"SELECT n FROM {name}.t") == "42\n"
        assert server.sql("SHOW DATABASES LIKE 'k3'") == "k3\n"
        assert login(server.user, server.password, server) == name
        assert "Access denied" in login(server.user, "wrong", server)
        assert server.stop() == 0
    assert is_gone(server)
    assert not server.data.exists()


def login(user: str, password: str, server: Server) -> str:
    """What the user sees of `k3_%` over TCP, or the refusal."""
    done = subprocess.run(
        ["mariadb", "--no-defaults", f"--host={server.address}", f"--port={server.port}", f"--user={user}", "-BN"],
        input="SHOW DATABASES LIKE 'k3\\_%'",
        env={**os.environ, "MYSQL_PWD": password},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout or done.stderr).strip()


@pytest.mark.servers("consul")
def test_consul_answers_remembers_and_is_joined() -> None:
    with consul_agent(node="one") as server:
        post(f"{server.endpoint}/v1/agent/service/register", {"Name": "k3", "ID": "k3-a", "Port": 7946}, method="PUT")
        server.close()
        server.start()
        assert "k3-a" in server.site.get(f"{server.endpoint}/v1/agent/services")
        with consul_agent(node="two", join=serf(server)) as client:
            nodes = json.loads(client.site.get(f"{client.endpoint}/v1/catalog/nodes"))
            assert {node["Node"] for node in nodes} == {"one", "two"}
    assert is_gone(server)
    assert is_gone(client)


@pytest.mark.netns
@pytest.mark.servers("etcd", "consul", "mariadb")
def test_servers_run_on_a_host_of_the_lab(lan: Lan) -> None:
    hub, other = lan.host("hub"), lan.host("other")
    with (
        etcd_server(lan=lan, host=hub) as etcd,
        consul_agent(lan=lan, host=hub) as consul,
        mariadb_server(lan=lan, host=hub) as mariadb,
    ):
        fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"
        assert "true" in other.python(fetch, f"{etcd.endpoint}/health")
        assert lan.address(hub) in other.python(fetch, f"{consul.endpoint}/v1/status/leader")
        greet = "import sys, socket; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).recv(99))"
        assert mariadb.version in other.python(greet, mariadb.address, str(mariadb.port))
        lan.isolate(hub)
        assert etcd.process.running


@pytest.mark.servers("etcd")
def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(AssertionError, match="no-such-flag"), etcd_server("--no-such-flag"):
        pass
    assert not left_running()


def outcome_of_a_test_that_needs(tmp_path: Path, **environment: str) -> str:
    """Run pytest on a test that needs everything, with an empty search path, and give its report."""
    file = tmp_path / "test_one.py"
    file.write_text(
        "import pytest\n"
        "from tests import needs\n"
        "from tests.conftest import *\n"
        "@pytest.mark.servers('never')\n"
        "def test_needy(): raise AssertionError('ran')\n"
        "@pytest.mark.servers\n"
        "def test_later(require_server): require_server('never')\n",
        encoding="utf-8",
    )
    (tmp_path / "conftest.py").write_text(
        "from tests import needs\nneeds.COMMANDS['never'] = ('k3-no-such-command',)\nfrom tests.conftest import *\n",
        encoding="utf-8",
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            f"--rootdir={tmp_path}",
            f"--config-file={root}/pyproject.toml",
            "-p",
            "no:cacheprovider",
            "-q",
            file,
        ],
        env={**{k: v for k, v in os.environ.items() if k != "K3_REQUIRE_SERVERS"}, "PYTHONPATH": str(root), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_missing_servers_are_named_and_counted(tmp_path: Path) -> None:
    report = outcome_of_a_test_that_needs(tmp_path)
    assert "2 skipped" in report
    assert "2 for want of never (no k3-no-such-command):" in report
    assert "test_one.py::test_needy" in report


def test_missing_servers_fail_where_they_are_required(tmp_path: Path) -> None:
    report = outcome_of_a_test_that_needs(tmp_path, K3_REQUIRE_SERVERS="1")
    assert "skipped" not in report
    assert "not on this machine: never (no k3-no-such-command), and K3_REQUIRE_SERVERS=1" in report


def test_waiting_gives_up_with_the_reason() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.05 s: the moon; last value 0"):
        until(lambda: 0, guard_seconds=0.05, what="the moon")
