"""A source from outside k3: found by its entry point, run on the Source port, and known to every command."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k3.core.objects import NODE, Key
from k3.settings.load import Flags, Place, load
from k3.stores import connect
from tests.lab import Process, until

TOYS = Path(__file__).parent.parent / "toys"


class Site:
    """A person's machine, on which the package of the source is installed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / "hosts.yaml"
        self.url = f"sqlite://{home}/list.db"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_STATE_HOME": str(home),
            "PYTHONPATH": str(TOYS),
            "K3_STORE": self.url,
        }

    def k3(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "k3.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=self.environ,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def states(self) -> dict[str, str]:
        if not (self.home / "list.db").exists():
            return {}
        rows = [line.split() for line in self.k3("nodes", "--no-headers").splitlines()]
        return {row[0]: row[1] for row in rows}

    async def put(self, name: str, manifest: dict[str, Any]) -> None:
        """As any program that writes to the store."""
        store = await connect(load(Flags(store=self.url), Place(self.environ, is_root=False), reading=False).storage)
        await store.create(Key(NODE, name), manifest)
        await store.aclose()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def agent(site: Site) -> Iterator[Process]:
    site.file.write_text("web1: 192.0.2.7\nweb2: [192.0.2.8, 2001:db8::8]\n", encoding="utf-8")
    process = Process([sys.executable, "-m", "k3.cli", "hosts", str(site.file)], env=site.environ, label="k3 hosts")
    yield process
    process.kill()


def test_its_machines_are_listed_refreshed_and_told_of(site: Site, agent: Process) -> None:
    until(lambda: site.states() == {"web1": "Ready", "web2": "Ready"}, what=lambda: agent.text)
    assert [line.split()[4] for line in site.k3("nodes", "--no-headers").splitlines()] == ["hosts", "hosts"]
    assert "k3 hosts" in site.k3("describe", "node", "web1")
    assert "Registered" in site.k3("events", "--for", "node/web1")
    site.file.write_text("web1: 192.0.2.7\n", encoding="utf-8")
    until(lambda: site.states() == {"web1": "Ready", "web2": "NotReady"}, what=lambda: agent.text)
    assert "while that lists it" in site.k3("delete", "node", "web2")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait() == 0


async def test_a_controllers_node_is_left_alone(site: Site) -> None:
    theirs = {
        "metadata": {"name": "web1", "labels": {"theirs": "yes"}},
        "spec": {"podCIDR": "10.1.0.0/24"},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]},
    }
    await site.put("web1", theirs)
    site.file.write_text("web1: 192.0.2.7\nweb2: 192.0.2.8\n", encoding="utf-8")
    process = Process([sys.executable, "-m", "k3.cli", "hosts", str(site.file)], env=site.environ, label="k3 hosts")
    until(lambda: site.states().get("web2") == "Ready", what=lambda: process.text)
    assert "controller" in site.k3("nodes", "web1", "--no-headers")
    assert process.stop() == 0
    assert "node.not_ours" in process.text


def test_a_package_that_cannot_be_loaded_keeps_nobody_from_reading(site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "k3_broken-1.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: k3-broken\nVersion: 1\n", encoding="utf-8")
    (broken / "entry_points.txt").write_text("[k3.sources]\nbroken = k3_broken\n", encoding="utf-8")
    site.environ["PYTHONPATH"] = str(tmp_path)
    said = site.k3("nodes", code=3)
    assert "source.broken" in said
    assert "no store at" in said


def test_an_unknown_command_is_still_one(site: Site) -> None:
    assert 'unknown command "hostz"' in site.k3("hostz", code=2)
