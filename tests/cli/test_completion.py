"""Words that a shell completes: what is offered, and that bash, zsh and fish offer it."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from k3.cli import COMMANDS, HELP
from tests.cli.conftest import K3, StoreFile
from tests.cli.pseudo_terminal import Terminal
from tests.lab import until


@pytest.fixture(autouse=True)
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time limits that were set, none of which counts in this process: it would end the tests."""
    asked: list[float] = []
    monkeypatch.setattr("signal.setitimer", lambda _which, seconds: asked.append(seconds))
    return asked


def offered(k3: K3, *words: str) -> list[str]:
    done = k3("__complete", "--", *words)
    assert (done.code, done.err) == (0, "")
    return [line.partition("\t")[0] for line in done.out.splitlines()]


def test_every_command_of_the_help_is_offered_with_what_it_is_for(k3: K3) -> None:
    lines = k3("__complete", "--", "").out.splitlines()
    named = {line.partition("\t")[0] for line in lines}
    assert named == {*COMMANDS, "get", "help"}
    assert all(line.partition("\t")[2] in HELP for line in lines)
    assert offered(k3, "ver") == ["version"]


@pytest.mark.parametrize("command", [*COMMANDS, "store check", "store copy", "token create", "token list", "token revoke"])
def test_the_flags_offered_are_those_of_the_help(k3: K3, command: str) -> None:
    shown = k3(*command.split(), "--help").out.partition("examples:")[0]
    flags = offered(k3, *command.split(), "--")
    assert set(flags) == (
        set() if command in {"store", "token"} else set(re.findall(r"^ +(?:-\w.*, )?(--[a-z-]+)", shown, re.MULTILINE))
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["nodes", "-o", ""], ["table", "wide", "json", "yaml", "name"]),
        (["nodes", "--output=j"], ["--output=json"]),
        (["no", "-o", "y"], ["yaml"]),
        (["get", "n"], ["nodes", "node"]),
        (["get", "nodes", "-o", "w"], ["wide"]),
        (["store", ""], ["check", "copy"]),
        (["token", "create", "--role", "v"], ["view"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["nodes", "--log-level", "d"], ["debug"]),
        (["nodes", "--sort-by", "last"], ["last-seen"]),
        (["network", "--interface", "l"], ["lo"]),
        (["server", "--tls=t"], ["--tls=true"]),
        (["nodes", "--config", ""], [":files"]),
        (["server", "--tls-cert-file=x"], [":files"]),
        (["help", "describ"], ["describe"]),
        (["nonsense", ""], []),
        (["nodes", "--store", "nonsense", ""], []),
        (["nodes", "--store", "sqlite:///nowhere/k3.db", ""], []),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_values_and_words(k3: K3, words: list[str], wanted: list[str]) -> None:
    assert offered(k3, *words) == wanted


def test_names_of_nodes_and_labels_come_from_the_store(k3: K3, store: StoreFile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(k3, "nodes", "--store", store.url, "we") == ["web1", "web2"]
    assert offered(k3, "nodes", f"--store={store.url}", "web1") == ["web1"]
    monkeypatch.setenv("K3_STORE", store.url)
    assert offered(k3, "nodes", "web1", "") == ["box", "web2"]
    assert offered(k3, "describe", "node", "b") == ["box"]
    assert offered(k3, "describe", "node/w") == ["node/web1", "node/web2"]
    assert offered(k3, "delete", "n") == ["node", "node/box", "node/web1", "node/web2"]
    assert offered(k3, "events", "--for", "node/w") == ["node/web1", "node/web2"]
    assert offered(k3, "nodes", "-l", "ti") == ["tier"]
    assert offered(k3, "nodes", "--label-columns=ti") == ["--label-columns=tier"]


def test_the_store_has_a_second(k3: K3, store: StoreFile, alarms: list[float]) -> None:
    assert offered(k3, "nodes", "--store", store.url, "b") == ["box"]
    assert alarms == [1.0]


@pytest.mark.slow
def test_a_store_that_hangs_costs_the_names_and_says_nothing() -> None:
    argv = [sys.executable, "-m", "k3.cli", "__complete", "--", "nodes", "--store", "etcd://10.255.255.1:2379", ""]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- the shells themselves -------------------------------------------------------------------------------------------

BASH: list[str] = ["bash", "--norc", "--noprofile", "-c"]
IN_BASH = """
source <(k3 completion bash)
COMP_WORDS=(%s) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_k3 k3 "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which `k3` is this one."""
    directory = tmp_path_factory.mktemp("bin")
    command = directory / "k3"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m k3.cli "$@"\n')
    command.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def environ(path: str, store: StoreFile, home: Path) -> dict[str, str]:
    return {**os.environ, "PATH": path, "K3_STORE": store.url, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}


def in_shell(argv: Sequence[str], path: str, store: StoreFile, home: Path) -> list[str]:
    done = subprocess.run(argv, env=environ(path, store, home), capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return [line.rstrip() for line in done.stdout.splitlines() if line.strip()]


@pytest.mark.slow
@pytest.mark.servers("shells")
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("k3 ver", ["version"]),
        ("k3 nodes we", ["web1", "web2"]),
        ("k3 nodes -o y", ["yaml"]),
        ("k3 nodes --output = y", ["yaml"]),
        ("k3 nodes --output =", ["table", "wide", "json", "yaml", "name"]),
        ("k3 describe node w", ["web1", "web2"]),
    ],
)
def test_bash(path: str, store: StoreFile, tmp_path: Path, typed: str, wanted: list[str]) -> None:
    until(lambda: in_shell([*BASH, IN_BASH % typed], path, store, tmp_path) == wanted)


@pytest.mark.slow
@pytest.mark.servers("shells")
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("k3 ver", ["version\twhich k3 is this"]),
        ("k3 nodes we", ["web1", "web2"]),
        ("k3 nodes --output=y", ["--output=yaml"]),
    ],
)
def test_fish(path: str, store: StoreFile, tmp_path: Path, typed: str, wanted: list[str]) -> None:
    script = f"k3 completion fish | source; complete -C '{typed}'"
    until(lambda: in_shell(["fish", "--no-config", "-c", script], path, store, tmp_path) == wanted)


@pytest.mark.slow
@pytest.mark.servers("shells")
def test_zsh(path: str, store: StoreFile, tmp_path: Path) -> None:
    shell = Terminal(command=["zsh", "-fi"], env=environ(path, store, tmp_path))
    try:
        shell.press("PS1='> '; autoload -Uz compinit; compinit -D -u; source <(k3 completion zsh); print $((6*7))\n")
        shell.wait_for(lambda: "42" in shell.lines)
        shell.press("k3 st\t")
        shell.wait_for("-- the agent of this machine, its store and its server")
        shell.press("\x15k3 nodes bo\t\t")
        shell.wait_for("> k3 nodes box")
        shell.press("\x15k3 nodes we\t\t")
        shell.wait_for(lambda: "web1" in shell.text and "web2" in shell.text)
        shell.press("\x15k3 nodes --output=ya\t")
        shell.wait_for("--output=yaml")
    finally:
        shell.close()
