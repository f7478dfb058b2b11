"""A machine as a test sees it: commands run on it, its files, its traffic, and what may befall it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from tests.lab.namespace import Namespace
from tests.lab.process import Process

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Traffic:
    """An interface's counters since it was made."""

    received_packets: int
    received_bytes: int
    sent_packets: int
    sent_bytes: int


class Host:
    """One machine. Made by `Lan.host`, or alone, without any interface but loopback, as a context manager."""

    def __init__(self, name: str, *, machine_id: str | None = None) -> None:
        """Boot it. `machine_id` None: a fresh one; empty text: a machine that has none."""
        self.name = name
        self.namespace = Namespace(name, machine_id=os.urandom(16).hex() if machine_id is None else machine_id)
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/") -> Process:
        """Start a command in the background. It ends with the host at the latest."""
        inside = self.namespace.entering(["env", "-C", cwd, *argv])
        process = Process(inside, env=self._environment(env), label=f"{self.name}: {' '.join(argv)}")
        self._processes.append(process)
        return process

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: str = "", guard_seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; look at `returncode`, nothing is raised for it."""
        return subprocess.run(
            self.namespace.entering(argv),
            env=self._environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=guard_seconds,
            check=False,
        )

    def python(self, code: str, *arguments: str, stdin: str = "") -> str:
        """Run Python code in a process of this host; what it printed. Raises AssertionError if it fails."""
        done = self.run([sys.executable, "-c", code, *arguments], stdin=stdin)
        assert done.returncode == 0, f"{self.name}: {done.stderr}"
        return done.stdout

    def ip(self, *commands: str) -> None:
        """Commands of `ip`, run in one go: `host.ip("link set eth0 down")`."""
        self.namespace.ip(*commands)

    def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function on a thread inside this host's network; see `Namespace.call`."""
        return self.namespace.call(function)

    def fetch(self, url: str) -> str:
        """What an HTTP server answers this host. Raises OSError where there is none, or it refuses."""

        def inside() -> str:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, timeout=10) as answer:
                return str(answer.read().decode())

        return self.call(inside)

    def open_socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """A socket of this host's network, to be used, and closed, by the test."""
        return self.call(lambda: socket.socket(family, kind))

    def path(self, path: str) -> Path:
        """A file of this host as the test can open it: `host.path("/var/lib/k3/k3.db")`."""
        return self.namespace.root() / path.lstrip("/")

    def set_machine_id(self, machine_id: str) -> None:
        """What /etc/machine-id says from now on: a cloned or reinstalled machine."""
        self.path("/run/machine-id").write_text(machine_id, encoding="utf-8")

    def traffic(self, interface: str = "eth0") -> Traffic:
        """The counters of one interface."""
        text = Path(f"/proc/{self.namespace.pid}/net/dev").read_text(encoding="utf-8")
        for line in text.splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == interface:
                fields = [int(number) for number in numbers.split()]
                return Traffic(fields[1], fields[0], fields[9], fields[8])
        msg = f"{self.name} has no interface {interface}"
        raise AssertionError(msg)

    def freeze(self) -> None:
        """Stop every process without ending it."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def crash(self) -> None:
        """SIGKILL for every process: a power cut, except that files survive."""
        self.namespace.kill_all()

    def close(self) -> None:
        """End everything on it and remove it."""
        self.namespace.close()
        for process in self._processes:
            process.close()

    def _signal_all(self, number: int) -> None:
        for pid in self.namespace.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _environment(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        """Nothing of the caller's but the search path, so that no setting of the machine leaks into a test."""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return {"PATH": path, "HOME": "/run/home", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", **(extra or {})}
