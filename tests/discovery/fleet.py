"""Machines that run `k3 discovery`, each a host of its own, on one Consul and one store, and all that the store has shown.

Consul lies on a host of its own, the hub, where nobody's agent runs. The store is a SQLite file, which all hosts see
under the same path, or an etcd on the hub. Nothing here decides what is right; tests do.
"""

import asyncio
import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from k3.agent.lease import lease_key
from k3.core.objects import NODE
from k3.core.store import Store
from k3.stores import connect
from k3.stores.sqlite import SqliteStorage
from tests.lab import Host, Lan, Process, until
from tests.servers import Server
from tests.system.agents import Sight, Watcher, brief

T = TypeVar("T")

SERVICE: Final = "k3-node"
PORT: Final = 7946
PASSING: Final = ("True", "ConsulPassing")
CRITICAL: Final = ("False", "ConsulCritical")
GONE: Final = ("False", "ConsulDeregistered")
STOPPED: Final = ("False", "NodeShutdown")
QUICK: Final = ("--health-check-interval", "1s", "--health-check-timeout", "1s")
"""A machine's illness shows within two seconds, not within thirteen."""

_LEAD: Final = re.compile(r" lease\.(won|lost|released) ")
_REQUEST: Final = re.compile(r"Request finished: method=(\S+) url=\"?([^\"\s]+)\"? from=(\S+):\d+ ")


class Registry:
    """Consul as its operator sees it."""

    def __init__(self, hub: Host, server: Server) -> None:
        self.hub = hub
        self.server = server

    def command(self, *arguments: str) -> str:
        """Run `consul` on the hub; what it printed."""
        done = self.hub.run(["consul", *arguments], env={"CONSUL_HTTP_ADDR": f"{self.server.address}:{self.server.port}"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def put(self, path: str, body: object = None) -> None:
        """PUT to the HTTP API: `put("agent/service/register", {...})`. Raises OSError."""
        data = b"" if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server.endpoint}/v1/{path}", data=data, method="PUT")  # noqa: S310 - our own server

        def send() -> None:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
                pass

        self.hub.call(send)

    def get(self, path: str) -> Any:
        """What the HTTP API answers; None while it does not."""
        text = self.server.site.get(f"{self.server.endpoint}/v1/{path}")
        return json.loads(text) if text else None

    def register(self, name: str, *, status: str = "passing") -> None:
        """A machine without k3: whoever registered it says how it is."""
        check = {"CheckID": f"told-{name}", "TTL": "1h", "Status": status}
        self.put("agent/service/register", {"Name": SERVICE, "ID": f"{SERVICE}-{name}", "Port": 80, "Check": check})

    def tell(self, name: str, status: str) -> datetime:
        """Say how a machine of `register` is. Returns when (UTC, taken before)."""
        at = datetime.now(UTC)
        self.put(f"agent/check/update/told-{name}", {"Status": status})
        return at

    def deregister(self, name: str) -> datetime:
        """As an operator does it. Returns when (UTC, taken before)."""
        at = datetime.now(UTC)
        self.command("services", "deregister", f"-id={SERVICE}-{name}")
        return at

    def listed(self) -> set[str]:
        """The machines that the catalog shows, by the names their service IDs end with."""
        return {each["ServiceID"].removeprefix(f"{SERVICE}-") for each in self.get(f"catalog/service/{SERVICE}") or ()}

    def requests(self, *, skip: int = 0) -> list[tuple[str, str, str]]:
        """(method, path without query, client's address) of each request answered, from Consul's log at debug level."""
        found = (_REQUEST.search(line) for line in self.server.process.lines[skip:])
        return [(each[1], each[2].partition("?")[0], each[3]) for each in found if each]


class Member:
    """One machine and its agent, which may be started and ended many times."""

    def __init__(self, lan: Lan, host: Host, arguments: Sequence[str]) -> None:
        """`arguments` are those every run has."""
        self.lan = lan
        self.host = host
        self._arguments = arguments
        self.runs: list[Process] = []

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def process(self) -> Process:
        """The newest run."""
        return self.runs[-1]

    @property
    def address(self) -> str:
        return self.lan.address(self.host)

    @property
    def leads(self) -> bool:
        """Whether the newest run says that it mirrors now."""
        turns = _LEAD.findall(self.process.text)
        return self.process.running and turns[-1:] == ["won"]

    def start(self, *flags: str, env: Mapping[str, str] | None = None) -> Process:
        self.runs.append(self.host.start(["k3", "discovery", *self._arguments, *flags], env=env))
        return self.process

    def kill(self) -> datetime:
        """SIGKILL. Returns when (UTC, taken before)."""
        at = datetime.now(UTC)
        self.process.kill(signal.SIGKILL)
        return at

    def stop(self) -> datetime:
        """SIGTERM, and wait for the end, which has to be clean. Returns when (UTC, taken before)."""
        at = datetime.now(UTC)
        assert self.process.stop() == 0, self.process.text[-3000:]
        assert "Traceback" not in self.process.text, self.process.text[-3000:]
        return at

    def said(self, event: str) -> list[str]:
        """The lines of the newest run that log an event."""
        return [line for line in self.process.lines if f" {event} " in line]

    def close(self) -> None:
        for process in self.runs:
            process.close()


class Fleet:
    """Machines by name, and what a reader of their store is shown."""

    def __init__(self, lan: Lan, hub: Host, server: Server, store: str) -> None:
        self.lan = lan
        self.hub = hub
        self.registry = Registry(hub, server)
        self.store = store
        self.members: dict[str, Member] = {}
        self._watcher: Watcher | None = None

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def where(self) -> list[str]:
        """The flags that name Consul and the store."""
        return ["--consul-addr", self.registry.server.endpoint, "--store", self.store]

    @property
    def watcher(self) -> Watcher:
        """Follows the store, from the first call on; the store is there by then."""
        if self._watcher is None:
            self._watcher = Watcher(self.hub, "--store", self.store)
        return self._watcher

    def host(self, name: str, *flags: str) -> Member:
        """A machine more, with its agent not started yet."""
        self.members[name] = Member(self.lan, self.lan.host(name), [*self.where, *QUICK, *flags])
        return self.members[name]

    def start(self, *names: str, flags: Sequence[str] = ()) -> None:
        """Machines more, with their agents; the first of a fleet leads. Returns when all are shown Ready, and know it."""
        fresh = [self.host(name, *flags) for name in names]
        for member in fresh:
            member.start()
            if len(self.members) == len(fresh) and member is fresh[0]:
                member.process.wait_for(" lease.won ")
        for member in fresh:
            self.shows(member.name, PASSING)
            member.process.wait_for("This machine is on the list")

    def shows(self, name: str, ready: tuple[str, str], *, since: datetime | None = None, guard_seconds: float = 30) -> Sight:
        """The first sight, at or after `since`, of this status and reason of Ready. Raises AssertionError at the guard."""
        try:
            return self.watcher.wait_for(name, lambda sight: sight.ready == ready, since=since, guard_seconds=guard_seconds)
        except AssertionError as error:
            logs = [f"{each.name}:\n{each.process.text[-1500:]}" for each in self.members.values() if each.runs]
            msg = "\n".join([f"{error}", *logs])
            raise AssertionError(msg) from error

    def downs(self, *names: str, since: datetime) -> list[str]:
        """Every sight of these machines since then in which they were not Ready, or not there."""
        sights = [sight for name in names for sight in self.watcher.of(name, since=since)]
        return [brief(sight) for sight in sights if sight.is_deleted or not sight.view.is_ready]

    def leaders(self) -> list[str]:
        """Who says that it mirrors."""
        return [name for name, member in self.members.items() if member.runs and member.leads]

    def wait_led(self, *, others_than: Iterable[str] = (), guard_seconds: float = 75) -> str:
        """Wait until one leads that is none of these, and nobody else; its name."""
        until(
            lambda: len(self.leaders()) == 1 and self.leaders()[0] not in others_than, guard_seconds=guard_seconds, what="lead"
        )
        return self.leaders()[0]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A k3 command on the hub, with this fleet's store."""
        return self.hub.run(["k3", *arguments, "--store", self.store])

    def in_store(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """Open the fleet's SQLite file in the test itself and do something in it."""

        async def session() -> T:
            store = await connect(SqliteStorage(Path(self.store.removeprefix("sqlite://"))))
            try:
                return await work(store)
            finally:
                await store.aclose()

        return asyncio.run(session())

    def revision(self) -> int:
        """How many writes the store has taken, and where it began."""
        return self.in_store(lambda store: store.list(NODE, limit=1)).revision

    def lease_holder(self) -> str:
        """The machine that holds the Lease, as the store has it."""

        async def holder(store: Store) -> str:
            found = await store.get(lease_key(SERVICE))
            return str(found.manifest()["spec"]["holderIdentity"])

        return self.in_store(holder).rpartition("_")[0]

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
        for member in self.members.values():
            member.close()
