"""`k3 status` and `k3 open` on a machine with an agent, with a server, and with neither."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Host, Lan, until

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.servers("curl")]


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine without a network."""
    with Host("lonely") as machine:
        yield machine


def status(host: Host, *flags: str) -> tuple[int, dict[str, Any]]:
    done = host.run(["k3", "status", "-o", "json", *flags])
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_runs_here_is_found_wherever_it_listens(host: Host) -> None:
    code, found = status(host)
    assert (code, found["isRunning"], found["page"]) == (3, False, "")
    shown = host.run(["k3", "status"]).stdout
    assert "none answers at 127.0.0.1:7946; start one with: k3 network" in shown
    done = host.run(["k3", "open"])
    assert (done.returncode, done.stdout) == (4, "")
    assert "no server of k3 answers at http://127.0.0.1:8080. Start one with: k3 up" in done.stderr

    other = host.start(["python3", "-m", "http.server", "8080", "--bind", "127.0.0.1"])
    up = host.start(["k3", "up"])
    until(lambda: status(host)[1]["page"], every_seconds=0.2, what=lambda: up.text)
    until(lambda: status(host)[0] == 0, every_seconds=0.2, what=lambda: up.text)
    _, found = status(host)
    assert (found["node"], found["sources"], found["doubts"]) == ("lonely", ["network"], [])
    assert found["nodes"] == {"Ready": 1}
    assert found["lastWrite"]
    assert found["page"] != "http://127.0.0.1:8080"
    assert host.run(["k3", "open"]).stdout == f"{found['page']}/\n"
    shown = host.run(["k3", "status"]).stdout
    assert f"pid {up.pid}, for " in shown
    other.close()

    check_that_the_page_may_ask_the_doctor(host, found["page"])

    code, found = status(host, "--store", "sqlite:///run/other.db")
    assert code == 4
    host.run(["k3", "store", "check", "--store", "sqlite:///run/other.db"])
    up.stop()
    assert status(host)[0] == 3
    assert "no server of k3 answers" in host.run(["k3", "open"]).stderr


def test_an_agent_at_one_address_is_found(lan: Lan) -> None:
    host = lan.host("alpha")
    agent = host.start(["k3", "network", "--listen", f"{lan.address(host)}:7946"])
    until(lambda: status(host)[1]["isRunning"], every_seconds=0.2, what=lambda: agent.text)
    assert f"pid {agent.pid}, for " in host.run(["k3", "status"]).stdout
    assert host.run(["k3", "doctor"]).returncode == 0
    assert agent.stop() == 0


def check_that_the_page_may_ask_the_doctor(host: Host, page: str) -> None:
    seen = json.loads(host.run(["curl", "-s", "--max-time", "10", "-X", "POST", f"{page}/doctor"]).stdout)
    said = json.loads(host.run(["k3", "doctor", "-o", "json"]).stdout)
    assert [each["subject"] for each in seen["findings"]] == [each["subject"] for each in said["findings"]]
    assert (seen["healthy"], seen["findings"][0]["subject"]) == (False, "interfaces")
    assert json.loads(host.run(["curl", "-s", f"{page}/doctor"]).stdout)["reason"] == "MethodNotAllowed"
