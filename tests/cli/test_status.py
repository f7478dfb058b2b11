"""What `k3 status` says of an agent that answers here, and of what the store and this machine have wrong."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from k3.cli import status
from tests.cli.conftest import K3, StoreFile, node

ID = "a" * 32
Agent = Callable[..., str]


@pytest.fixture
def agent() -> Iterator[Agent]:
    """Gives where something answers as an agent does, with these sources."""
    servers = []

    def run(*sources: str) -> str:
        said: dict[str, bytes] = {
            "/metrics": "".join(f'k3_source_up{{source="{each}"}} 1\n' for each in sources).encode(),
            "/info": json.dumps({"node": "web1", "port": 7946, "pid": 1, "addrs": [], "id": ID, "uptime": 5.0}).encode(),
        }

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = said.get(self.path, b"")
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


def test_nothing_from_the_store_reaches_the_terminal_unescaped(k3: K3, store: StoreFile, agent: Agent) -> None:
    evil = "\x1b]0;pwned\x07\x1b[2J10.0.0.9"
    for name, address in (("web1", "10.0.0.7"), ("web2", evil)):
        manifest = node(name)
        manifest["metadata"]["annotations"]["k3.network/id"] = ID
        manifest["status"]["addresses"][1]["address"] = address
        manifest["status"]["conditions"][0] |= {"status": "False", "message": f"{name} {evil}"}
        store.put(name, manifest)
    shown = k3("status", "--listen", agent("network"), "--store", store.url)
    assert "web2 (\\x1b]0;pwned\\x07\\x1b[2J10.0.0.9)" in shown.out
    assert not any(character < " " for character in shown.out.replace("\n", ""))


def test_who_only_announces_this_machines_id_is_no_doubt(k3: K3, store: StoreFile, agent: Agent) -> None:
    for name, seen_ago in (("web1", 1.0), ("web2", None)):
        manifest = node(name, seen_ago=seen_ago)
        manifest["metadata"]["annotations"] |= {"k3.network/id": ID, "k3.network/seen-by": "web3"}
        store.put(name, manifest)
    shown = k3("status", "--listen", agent("network"), "--store", store.url)
    assert "Besides:    web2 (10.0.0.7) has this machine's id: a copy of it, or" in shown.out
    assert "or something that announces its id: it has never answered" in shown.out
    assert not any(line.startswith("Not well:") and "web2" in line for line in shown.out.splitlines())


def test_the_interfaces_are_those_that_k3_was_told_to_use(k3: K3, store: StoreFile, agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("network:\n  interface: [nowhere0]\n")
    store.put("web1")
    wanted = ("--config", str(file), "--store", store.url)
    assert "nowhere0" in k3("status", "--listen", agent("network"), *wanted).out
    assert "nowhere0" not in k3("status", "--listen", agent("discovery"), *wanted).out, "Consul is asked without multicast"


def test_a_disk_that_hangs_is_told(k3: K3, store: StoreFile, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file system of the network does whose server is away."""
    is_back = threading.Event()

    def hang(_: object) -> None:
        is_back.wait(30)
        raise OSError

    monkeypatch.setattr(status, "ASK_SECONDS", 0.2)
    monkeypatch.setattr(os, "statvfs", hang)
    store.put("web1")
    shown = k3("status", "--listen", agent("network"), "--store", store.url)
    is_back.set()
    assert shown.code == status.NO_STORE
    assert "Not well:   the disk that holds the store has not answered within 0.2 s" in shown.out
