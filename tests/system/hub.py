"""A hub, `k3 server` on a host of its own, and the agents that have it as their store."""

import http.client
import json
import signal
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k3.core import node
from k3.core.node import NodeView
from tests.lab import Host, Process, until

PORT = 8443
STATE = "/var/lib/k3"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub answered."""

    code: int
    document: Any

    @property
    def nodes(self) -> dict[str, NodeView]:
        """The Nodes of a list, by name."""
        assert self.code == http.client.OK, self
        items = self.document["items"]
        return {each["metadata"]["name"]: node.view_manifest(each["metadata"]["name"], each) for each in items}


class Hub:
    """A server on a store, which may be killed and started again. Files that agents need are in `directory`, on all hosts."""

    def __init__(self, host: Host, directory: Path, address: str, *, store: str = "") -> None:
        self.host = host
        self.address = address
        self.store = store or f"sqlite://{directory}/hub.db"
        self.ca_file = directory / f"{host.name}.crt"
        self.runs: list[Process] = []

    @property
    def process(self) -> Process:
        return self.runs[-1]

    def start(self, *options: str, env: Mapping[str, str] | None = None) -> None:
        """Start the server, and wait until it answers."""
        argv = ["k3", "server", "--listen", f":{PORT}", "--store", self.store, *options]
        self.runs.append(self.host.start(argv, env=env))
        until(self._has_begun, guard_seconds=60, every_seconds=0.1, what=lambda: f"the hub answers:\n{self.process.text}")

    def kill(self) -> None:
        self.process.kill(signal.SIGKILL)

    def token(self, *options: str) -> str:
        """A new token, of the role agent unless `options` name one."""
        chosen = options if "--role" in options else ("--role", "agent", *options)
        done = self.host.run(["k3", "token", "create", *chosen, "--store", self.store])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    def revoke_all(self, role: str) -> None:
        """Revoke every token of a role."""
        lines = self.host.run(["k3", "token", "list", "--store", self.store]).stdout.splitlines()[1:]
        for line in lines:
            if line.split()[1] == role:
                done = self.host.run(["k3", "token", "revoke", line.split()[0], "--store", self.store])
                assert done.returncode == 0, done.stderr

    def url(self, token_file: Path) -> str:
        """How agents name the hub."""
        return f"https://{self.address}:{PORT}?ca_file={self.ca_file}&token_file={token_file}"

    def get(self, path: str, token: str) -> Answer:
        """What the hub answers to a client of its own host."""

        def inside() -> Answer:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            connection = http.client.HTTPSConnection(self.address, PORT, timeout=10, context=context)
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
                found = connection.getresponse()
                body = found.read()
                is_json = "json" in found.headers.get("Content-Type", "")
                return Answer(found.status, json.loads(body) if is_json else body.decode())
            finally:
                connection.close()

        return self.host.call(inside)

    def nodes(self, token: str) -> dict[str, NodeView]:
        return self.get("/api/v1/nodes", token).nodes

    def _has_begun(self) -> bool:
        assert self.process.running, self.process.text
        made = self.host.path(f"{STATE}/server/ca.crt")
        if not made.exists():
            return False
        if not self.ca_file.exists():
            self.ca_file.write_bytes(made.read_bytes())
        try:
            return self.get("/readyz", "").code == http.client.OK
        except OSError:
            return False
