"""The pages' commands, run in their order on a machine called alpha, as a reader would: what they show is what is printed.

Times, ages and the place of the virtual environment differ from run to run and are evened out; everything else is compared.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT, Command, commands, page
from tests.lab import Host, Lan, Process, until

pytestmark = [pytest.mark.netns, pytest.mark.slow]

BIN: Final = Path(sys.executable).parent
READER: Final = {"PATH": os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != BIN)}
"""On the path of a reader who has just typed `make run` there is no k3 yet."""

FETCH: Final = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
DROP: Final = """
add table inet filter
add chain inet filter input { type filter hook input priority 0; policy drop; }
add rule inet filter input iif lo accept
add rule inet filter input ct state established accept
"""


def of_page(name: str) -> list[Command]:
    return [command for command in commands("alpha") if command.page == name]


def shape(line: str) -> str:
    """The line without what differs from run to run."""
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line.replace(f"{BIN}/", ".venv/bin/"))
    line = re.sub(r"\bpid \d+", "PID", re.sub(r"\b[0-9a-f]{32}\b", "ID", line))
    return re.sub(r"\s+", " ", re.sub(r"\b\d+(s|m|h)\b", "AGE", line)).strip()


def printed(command: Command, lines: Iterable[str]) -> bool:
    """Whether the output has the lines that the page shows, in that order."""
    left = iter([shape(line) for line in lines])
    return all(shape(wanted) in left for wanted in command.prints)


def expect(command: Command, process: Process) -> None:
    """Wait until a running command has printed what the page shows."""
    try:
        until(lambda: printed(command, process.lines))
    except AssertionError as error:
        msg = f"{command} printed\n{process.text}"
        raise AssertionError(msg) from error


def stays(command: Command) -> bool:
    """Whether it runs until it is stopped."""
    words = shlex.split(command.text)
    return words[-2:] in (["make", "run"], ["k3", "network"], ["k3", "up"], ["k3", "server"]) or "-w" in words


def argv(command: Command) -> list[str]:
    text = command.text
    if text == "make run":  # what `make run` installs is installed here
        return ["make", "-C", str(ROOT), "--no-print-directory", "-o", f"{BIN.parent}/.run", "run", f"VENV={BIN.parent}"]
    words = shlex.split(text)
    if words[0] == "curl" and shutil.which("curl") is None:
        return [sys.executable, "-c", FETCH, words[-1]]
    if words[0] == ".":
        return ["sh", "-ec", text.replace(".venv/bin/", f"{BIN}/")]
    rest = [f"{ROOT}/{word}" if word.startswith("examples/") else word for word in words[1:]]
    return [words[0].replace(".venv/bin/", f"{BIN}/"), *rest]


def walk(name: str, alpha: Host, between: dict[str, Callable[[], None]]) -> list[Process]:
    """Run a page's commands. `between` has what happens elsewhere, before (`<`) or after (`>`) a command has begun."""
    running = []
    for command in of_page(name):
        between.pop(f"< {command.text}", lambda: None)()
        if stays(command):
            process = alpha.start(argv(command), env=READER if command.text == "make run" else None)
            running.append(process)
            until(lambda p=process: p.lines, what=str(command))  # type: ignore[misc]
            between.pop(f"> {command.text}", lambda: None)()
            expect(command, process)
        else:
            done = alpha.run(argv(command))
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            assert printed(command, done.stdout.splitlines()), f"{command}\n{done.stdout}{done.stderr}"
    assert not between, "not on the page"
    return running


def listed(host: Host, *names: str) -> bool:
    done = host.run(["k3", "nodes", "--no-headers"])
    return [row.split()[:2] for row in done.stdout.splitlines()] == [[name, "Ready"] for name in names]


def test_the_readme(lan: Lan) -> None:
    alpha, beta = lan.host("alpha"), lan.host("beta")
    theirs: list[Process] = []

    def start_beta() -> None:
        theirs.append(beta.start(["k3", "network"]))
        until(lambda: listed(alpha, "alpha", "beta") and listed(beta, "alpha", "beta"), every_seconds=0.2)

    def stop_beta() -> None:
        assert theirs[0].stop() == 0

    agent, _follower = walk(
        "README.md", alpha, {"< .venv/bin/k3 nodes": start_beta, "> .venv/bin/k3 nodes -w --append": stop_beta}
    )
    assert alpha.run(["pkill", "-TERM", "-x", "-P", str(agent.pid), "k3"]).returncode == 0
    agent.wait()
    assert "network.stopped" in agent.text


def test_the_network_page(lan: Lan) -> None:
    alpha = lan.host("alpha")
    alpha.namespace.nft("add table inet filter\nadd chain inet filter input { type filter hook input priority 0; }\n")
    (agent,) = walk("docs/network.md", alpha, {})
    assert agent.stop() == 0


def test_the_commands_page(lan: Lan) -> None:
    alpha = lan.host("alpha")
    agent = alpha.start(["k3", "network"])
    agent.wait_for("This machine is on the list")
    assert walk("docs/commands.md", alpha, {}) == []
    assert agent.stop() == 0


def test_the_stores_page(lan: Lan) -> None:
    alpha = lan.host("alpha")
    agent = alpha.start(["k3", "network"])
    agent.wait_for("This machine is on the list")
    assert walk("docs/stores.md", alpha, {}) == []
    assert agent.stop() == 0


def test_every_command_is_on_a_page_that_is_walked() -> None:
    assert {command.page for command in commands("alpha")} == {
        "README.md",
        "docs/network.md",
        "docs/stores.md",
        "docs/commands.md",
    }


def test_the_firewall_rules_are_enough_and_needed(lan: Lan) -> None:
    rules = "".join(f"{c.text.removeprefix('nft ')}\n" for c in of_page("docs/network.md") if c.text.startswith("nft "))
    alpha, beta, gamma = (lan.host(name) for name in ("alpha", "beta", "gamma"))
    for host in (alpha, beta):
        host.namespace.nft(DROP + rules)
    gamma.namespace.nft(DROP + rules.splitlines()[0] + "\n")
    agents = [host.start(["k3", "network", "--peer-ttl", "5s"]) for host in (alpha, beta, gamma)]

    def seen() -> bool:
        rows = alpha.run(["k3", "nodes", "--no-headers"]).stdout.splitlines()
        return {(row.split()[0], row.split()[1]) for row in rows} == {
            ("alpha", "Ready"),
            ("beta", "Ready"),
            ("gamma", "NotReady"),
        }

    until(seen, every_seconds=0.2, what="alpha and beta Ready, gamma never proven")
    shown = alpha.run(["k3", "nodes", "gamma", "-o", "yaml"]).stdout
    assert f"announced, but {lan.address(gamma)}:7946 never answered: firewall?" in shown
    assert page("docs/network.md").text.count("never answered: firewall?")
    for agent in agents:
        assert agent.stop() == 0
