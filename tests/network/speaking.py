"""Speakers: hosts of the laboratory that announce and listen over mDNS."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Host, Process

ROOT = Path(__file__).parents[2]


class Speaking:
    """A running speaker, and what it has heard so far."""

    def __init__(self, host: Host, process: Process) -> None:
        self.host = host
        self.process = process

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(line.removeprefix("heard ")) for line in self.process.lines if line.startswith("heard ")]

    def nodes(self) -> list[str]:
        return [each["node"] for each in self.heard()]

    def news_of(self, node: str) -> list[dict[str, Any]]:
        return [each for each in self.heard() if each["node"] == node]

    def refused(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for line in self.process.lines:
            if line.startswith("refused "):
                counts = json.loads(line.removeprefix("refused "))
        return counts

    def left(self) -> list[str]:
        return [line.removeprefix("left ") for line in self.process.lines if line.startswith("left ")]


Speak = Callable[..., Speaking]


@pytest.fixture
def speak() -> Speak:
    """`speak(host, "node", "--silent")`: start a speaker and wait until it is ready."""

    def start(host: Host, node: str, *options: str) -> Speaking:
        argv = [sys.executable, str(ROOT / "tests/network/speaker.py"), node, *options]
        process = host.start(argv, env={"PYTHONPATH": str(ROOT / "src")})
        process.wait_for("ready")
        return Speaking(host, process)

    return start
