"""A server of the store answers, but not as it should: full, locked, without rights, or to be written no more.

Agents that run go on, say once what is wrong and what to do, blame no machine for it, and need no restart when it is mended. So
does a server of the Kubernetes API: it is read where the store can be, and whoever writes is told what the agents say.
"""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from tests.exposition import parse
from tests.lab import Host, Lan, until
from tests.needs import find
from tests.servers.etcd import etcd_server
from tests.servers.mariadb import Mariadb, mariadb_server
from tests.servers.server import Server
from tests.stores.etcd_lab import add_users, encoded, gateway
from tests.system.agents import Watcher, is_ready
from tests.system.test_far_stores import environment, file_of, password_of, refreshed

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TTL = timedelta(seconds=3)
LONGEST_SHARE = 0.3
"""Of a core: who spins takes all of it."""
API_PORT = 6443
QUOTA_BYTES = 16 * 1024 * 1024

Befall = Callable[[Server], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What befalls a server, what the agents are to say of it, and whether the list can be read meanwhile."""

    befall: Befall
    says: str
    lists: bool
    of_rights: bool = False
    """Whether an agent knows that it is over by a write of its own alone."""


# --- etcd


def call(server: Server, path: str, body: Mapping[str, object], token: str = "") -> dict[str, Any]:
    return server.site.call(lambda: gateway(server, path, body, token=token))


@contextlib.contextmanager
def no_space(server: Server) -> Iterator[None]:
    """Another program fills etcd up to its quota; then that is cleared away as etcd's manual says."""
    is_full = False
    while not is_full:
        try:
            call(server, "kv/put", {"key": encoded("/other"), "value": encoded("x" * 1_000_000)})
        except urllib.error.HTTPError as error:
            error.close()
            is_full = True
    yield
    revision = int(call(server, "kv/range", {"key": encoded("/other"), "keys_only": True})["header"]["revision"])
    call(server, "kv/compaction", {"revision": revision, "physical": True})
    call(server, "maintenance/defragment", {})
    for alarm in call(server, "maintenance/alarm", {"action": "GET"})["alarms"]:
        call(server, "maintenance/alarm", {"action": "DEACTIVATE", **alarm})


@contextlib.contextmanager
def users_wanted(server: Server) -> Iterator[None]:
    """Logins are demanded, of which the agents know none; then no longer."""
    server.site.call(lambda: add_users(server, "/kubernetes"))
    yield
    administer(server, "disable", {})


def administer(server: Server, what: str, body: Mapping[str, object]) -> None:
    """As the administrator does, by `etcdctl` for example."""
    token = call(server, "auth/authenticate", {"name": "root", "password": "root-secret"})["token"]
    call(server, f"auth/{what}", body, token)


SPAN = {"key": encoded("/kubernetes/"), "range_end": encoded("/kubernetes0")}


@contextlib.contextmanager
def may_do_nothing(server: Server) -> Iterator[None]:
    """The role of the agents' user has lost the prefix."""
    administer(server, "role/revoke", {"role": "k3", **SPAN})
    yield
    administer(server, "role/grant", {"name": "k3", "perm": {"permType": "READWRITE", **SPAN}})


@contextlib.contextmanager
def may_write_nothing(server: Server) -> Iterator[None]:
    """It may read the prefix, and write there no more."""
    administer(server, "role/grant", {"name": "k3", "perm": {"permType": "READ", **SPAN}})
    yield
    administer(server, "role/grant", {"name": "k3", "perm": {"permType": "READWRITE", **SPAN}})


@contextlib.contextmanager
def another_password(server: Server) -> Iterator[None]:
    """The password of the agents' user is another one, and then theirs again; etcd forgets their logins for it."""
    administer(server, "user/changepw", {"name": "k3", "password": "another-secret"})
    yield
    administer(server, "user/changepw", {"name": "k3", "password": "k3-secret"})


# --- MariaDB


@contextlib.contextmanager
def held(server: Server, *statements: str) -> Iterator[None]:
    """An administrator's session that has done this, and then does nothing."""
    assert isinstance(server, Mariadb)
    client = [
        find("mariadb") or "mariadb",
        "--no-defaults",
        "--user=root",
        f"--socket={server.data}/sock",
        "--batch",
        "-N",
        "-n",
    ]
    with subprocess.Popen([*client, Mariadb.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("".join(f"{each};\n" for each in (*statements, "SELECT 'held'")))
        session.stdin.flush()
        while session.stdout.readline().strip() != "held":
            assert session.poll() is None
        yield
        session.stdin.close()


def tables_locked(server: Server) -> AbstractContextManager[None]:
    """As by a backup of all tables."""
    return held(server, "LOCK TABLES meta WRITE, cur WRITE, log WRITE")


def counter_held(server: Server) -> AbstractContextManager[None]:
    """By a transaction that somebody forgot to end."""
    return held(server, "BEGIN", "SELECT COUNT(*) FROM meta FOR UPDATE")


@contextlib.contextmanager
def read_only(server: Server) -> Iterator[None]:
    assert isinstance(server, Mariadb)
    server.sql("SET GLOBAL read_only = ON")
    yield
    server.sql("SET GLOBAL read_only = OFF")


@contextlib.contextmanager
def may_only_read(server: Server) -> Iterator[None]:
    """The user has lost its rights to write; which those are counts from the next session on."""
    assert isinstance(server, Mariadb)
    server.sql("REVOKE ALL PRIVILEGES ON `k3%`.* FROM k3@'%'; GRANT SELECT ON `k3%`.* TO k3@'%'; KILL USER k3")
    yield
    server.sql("GRANT ALL PRIVILEGES ON `k3%`.* TO k3@'%'")


ETCD = [
    Trouble(befall=no_space, says="is full (NOSPACE alarm)", lists=True),
    Trouble(befall=users_wanted, says="wants a user: set storage.etcd.username", lists=False),
]
RIGHTS = "denies user k3 access to /kubernetes/: etcdctl role grant-permission ROLE --prefix=true readwrite /kubernetes/"
ETCD_OF_USERS = [
    Trouble(befall=may_do_nothing, says=RIGHTS, lists=False),
    Trouble(befall=may_write_nothing, says=RIGHTS, lists=True, of_rights=True),
    Trouble(befall=another_password, says="refuses user k3: unknown name or wrong password", lists=False),
]
MARIADB = [
    Trouble(befall=tables_locked, says="does somebody hold a lock", lists=False),
    Trouble(befall=counter_held, says="does somebody hold a lock", lists=True),
    Trouble(befall=read_only, says="the server only reads", lists=True),
    Trouble(befall=may_only_read, says="lacks rights on database k3; as administrator run: GRANT", lists=True, of_rights=True),
]


class Scene:
    """Two machines on one server, and who looks."""

    def __init__(self, lan: Lan, server: Server, url: str, hosts: Sequence[Host], reader: Host) -> None:
        self.server = server
        self._lan = lan
        self._reader = reader
        self._opening = file_of(reader, url)
        argv = ["k3", "network", "--peer-ttl", f"{TTL.seconds}s", "--store", url]
        self.agents = {host: host.start(argv, env=environment(url)) for host in hosts}
        for process in self.agents.values():
            process.wait_for("This machine is on the list", guard_seconds=30)
        self.api = reader.start(["k3", "server", "--listen", f"127.0.0.1:{API_PORT}", *self._opening])
        self.watcher = Watcher(reader, *self._opening)
        for host in hosts:
            self.watcher.wait_for(host.name, is_ready)
        self.api.wait_for("are served at")
        until(lambda: self.ask()[0] == HTTPStatus.OK, what="the API")
        self._label = 0

    def ask(self, method: str = "GET", body: object = None) -> tuple[int, str]:
        """The code and the text of the API's answer about the first machine."""
        name = next(iter(self.agents)).name
        request = urllib.request.Request(
            f"http://127.0.0.1:{API_PORT}/api/v1/nodes/{name}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/merge-patch+json"},
        )

        def inside() -> tuple[int, str]:
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return self._reader.call(inside)

    def write(self) -> tuple[int, str]:
        """As `ask`, of a new label each time."""
        self._label += 1
        return self.ask("PATCH", {"metadata": {"labels": {"turn": str(self._label)}}})

    def store(self, host: Host) -> tuple[bool, bool]:
        """Whether it answers and takes writes, as the agent's metrics say."""
        found = parse(host.fetch(f"http://{self._lan.address(host)}:7946/metrics"))
        return bool(found["k3_store_up"].of()), bool(found["k3_store_writable"].of())

    def meets(self, trouble: Trouble) -> None:
        """The trouble lasts for longer than the time to live, and is over."""
        before = {process: len(process.lines) for process in self.agents.values()}
        began = datetime.now(UTC)
        with trouble.befall(self.server):
            for process, skip in before.items():
                process.wait_for(lambda line: " store.lost " in line and trouble.says in line, guard_seconds=20, skip=skip)
            self.lasts(trouble)
        returned = datetime.now(UTC)
        for host in self.agents:
            self.watcher.wait_for(host.name, refreshed(returned), since=returned, guard_seconds=25)
        for host, process in self.agents.items():
            assert self.api.running
            until(lambda: self.write()[0] == HTTPStatus.OK, what="the API writes again")
            until(lambda host=host: self.store(host) >= (True, not trouble.of_rights), what="the end in /metrics")  # type: ignore[misc]
            said = [line for line in process.lines[before[process] :] if " store.lost " in line]
            assert len(said) <= 2, "one of silence, and one of what is refused"
            assert all(is_ready(sight) for sight in self.watcher.of(host.name, since=began))

    def lasts(self, trouble: Trouble) -> None:
        wanted = (trouble.lists, False)
        until(lambda: all(self.store(host) == wanted for host in self.agents), what=f"{wanted} in /metrics")
        used, began = [process.cpu_seconds() for process in self.agents.values()], time.monotonic()
        shown = self._reader.run(["k3", "nodes", "--no-headers", *self._opening])
        code, said = self.write()
        assert (code, json.loads(said)["kind"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "Status"), said
        assert trouble.says in json.loads(said)["message"]
        assert self.ask()[0] == (HTTPStatus.OK if trouble.lists else HTTPStatus.SERVICE_UNAVAILABLE)
        if trouble.lists:
            assert {line.split()[0] for line in shown.stdout.splitlines()} >= {host.name for host in self.agents}, shown
        else:
            assert shown.returncode in {1, 4}, shown
        time.sleep(max(0.0, began + TTL.total_seconds() + 1 - time.monotonic()))
        for process, before in zip(self.agents.values(), used, strict=True):
            assert process.running, process.text[-3000:]
            assert (process.cpu_seconds() - before) / (time.monotonic() - began) < LONGEST_SHARE, trouble


def play(lan: Lan, server: Server, url: str, troubles: Sequence[Trouble]) -> None:
    """One trouble after the other, each with new agents: a second one within the minute would be told of later (ADR 46)."""
    hosts, reader = [lan.host("a"), lan.host("b")], lan.host("reader")
    password = password_of(url)
    for trouble in troubles:
        scene = Scene(lan, server, url, hosts, reader)
        with scene.watcher:
            scene.meets(trouble)
        for process in (*scene.agents.values(), scene.api):
            assert "Traceback" not in process.text
            assert not password or password not in process.text
            process.kill()


@pytest.mark.servers("etcd")
def test_an_etcd_that_is_full_and_one_that_wants_users(lan: Lan) -> None:
    far = lan.host("far")
    with etcd_server(f"--quota-backend-bytes={QUOTA_BYTES}", "--bcrypt-cost=4", lan=lan, host=far) as server:
        play(lan, server, f"etcd://{server.address}:{server.port}", ETCD)


@pytest.mark.servers("etcd")
def test_an_etcd_whose_user_loses_its_rights_or_its_password(lan: Lan) -> None:
    far = lan.host("far")
    with etcd_server("--bcrypt-cost=4", lan=lan, host=far) as server:
        server.site.call(lambda: add_users(server, "/kubernetes"))
        play(lan, server, f"etcd://k3@{server.address}:{server.port}", ETCD_OF_USERS)


@pytest.mark.servers("mariadb")
def test_a_mariadb_that_is_locked_or_refuses(lan: Lan) -> None:
    far = lan.host("far")
    with mariadb_server(lan=lan, host=far) as server:
        play(lan, server, f"mysql://{server.user}@{server.address}:{server.port}/{server.database}", MARIADB)
