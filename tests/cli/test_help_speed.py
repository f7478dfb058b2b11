"""`k3 --help` costs little more than starting Python: a person does not wait for it."""

import resource
import subprocess
import sys

import pytest

from tests.cli.conftest import K3

HEAVY = {"argparse", "asyncio", "yaml", "sqlite3", "zeroconf", "grpc", "asyncmy", "h11", "ssl", "logging", "difflib"}


def seconds(*argv: str) -> float:
    """CPU time, which other work on the machine changes little, and of five the best, which was disturbed least."""
    spans = []
    for _ in range(5):
        before = children()
        subprocess.run([sys.executable, *argv], stdout=subprocess.DEVNULL, check=True)
        spans.append(children() - before)
    return min(spans)


def children() -> float:
    """What ended child processes have used (seconds of CPU)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_as_fast_as_python_allows() -> None:
    assert seconds("-m", "k3.cli", "--help") < 8 * seconds("-c", "pass")


@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        (["--help"], HEAVY),
        (["version"], HEAVY - {"argparse"}),
        (["nodes", "--store", "memory://"], {"yaml", "sqlite3", "zeroconf", "grpc", "asyncmy", "h11"}),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(arguments: list[str], spared: set[str]) -> None:
    code = f"import sys; from k3.cli import main; main({arguments!r}); print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "k3.cli" in done.stderr.split()
    assert spared & set(done.stderr.split()) == set()


def test_help_names_every_command_with_an_example(k3: K3) -> None:
    shown = k3("--help").out
    for command in ("network", "nodes", "describe", "why", "events", "get", "delete", "version"):
        assert any(line.split()[:1] == [command] and f"k3 {command}" in line for line in shown.splitlines())
    assert k3().out == k3("help").out == k3("-h").out == shown


@pytest.mark.parametrize("command", ["network", "nodes", "describe", "why", "events", "delete", "version"])
def test_every_command_has_help_with_examples(k3: K3, command: str) -> None:
    with_help = [_help(k3, command, "--help"), _help(k3, "help", command)]
    assert with_help[0] == with_help[1]
    assert f"examples:\n  k3 {command}" in with_help[0]


def _help(k3: K3, *arguments: str) -> str:
    result = k3(*arguments)
    assert result.code == 0
    return result.out


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        (("store", "check"), "store check"),
        (("store", "copy"), "store copy"),
        (("get", "nodes"), "nodes"),
        (("get",), "nodes"),
        (("get", "events"), "events"),
        (("node",), "nodes"),
        (("delete", "node"), "delete"),
    ],
)
def test_help_of_several_words_is_that_of_the_command(k3: K3, asked: tuple[str, ...], command: str) -> None:
    shown = _help(k3, "help", *asked)
    assert shown == _help(k3, *asked, "--help")
    assert shown.startswith(f"usage: k3 {command} ")
