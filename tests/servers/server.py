"""One server process that can be stopped, killed, frozen and started again on the same port with the same data."""

import contextlib
import os
import random
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.lab import Host, Lan, Process, until
from tests.needs import find

T = TypeVar("T")

# Below the ports the kernel hands out by itself, so that nobody takes one while its server is being restarted.
_PORTS = range(20_000, 32_000)
_dice = random.Random(os.getpid())
_given: set[int] = set()
"""Ports handed out here, since a server binds its own only later, and all of them one after the other."""
_running: "dict[int, Server]" = {}


def left_running() -> "list[Server]":
    """Servers this test process started and has not stopped."""
    return list(_running.values())


class Site:
    """Where a server runs: this machine's loopback, or a host of the laboratory at its address there."""

    def __init__(self, lan: Lan | None, host: Host | None) -> None:
        """Both or neither."""
        self._host = host
        self.address = lan.address(host) if lan and host else "127.0.0.1"

    def start(self, argv: Sequence[str], name: str) -> Process:
        """Start a command there."""
        command = [find(argv[0]) or argv[0], *argv[1:]]
        if self._host:
            return self._host.start(command)
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LANG": "C.UTF-8"}
        return Process(command, env=env, label=name)

    def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function in that network."""
        return self._host.call(function) if self._host else function()

    def free_port(self) -> int:
        """A port that neither TCP nor UDP uses there."""
        return self.call(self._free_port)

    def _free_port(self) -> int:
        while True:
            port = _dice.choice(_PORTS)
            if port in _given:
                continue
            with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
                tcp.bind((self.address, port))
                udp.bind((self.address, port))
                _given.add(port)
                return port

    def get(self, url: str) -> str:
        """The body of an HTTP 200, or empty text."""

        def inside() -> str:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(url, timeout=2) as answer:
                    return str(answer.read().decode())
            except (OSError, urllib.error.URLError):
                return ""

        return self.call(inside)


class Server:
    """A server that answers. `address` and `port` are where."""

    def __init__(self, name: str, site: Site, argv: Sequence[str], *, port: int, ready: Callable[[], bool]) -> None:
        self.name = name
        self.site = site
        self.address = site.address
        self.port = port
        self._argv = argv
        self._ready = ready
        self.process = self.start()

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:20001`."""
        return f"http://{self.address}:{self.port}"

    def start(self) -> Process:
        """Start it, again if it was stopped, and wait until it answers."""
        self.process = self.site.start(self._argv, self.name)
        _running[id(self)] = self
        try:
            until(self._answers, guard_seconds=60, every_seconds=0.02, what=f"{self.name} answering")
        except BaseException:
            self.close()
            raise
        return self.process

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        code = self.process.stop()
        self.close()
        return code

    def close(self) -> None:
        """End it at once, as `kill -9`; data stays until the context ends."""
        self.process.close()
        _running.pop(id(self), None)

    def _answers(self) -> bool:
        if not self.process.running:
            self.process.wait()  # until its last words have been read
            msg = f"{self.name} ended:\n{self.process.text[-3000:]}"
            raise AssertionError(msg)
        return self._ready()
