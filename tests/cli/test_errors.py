"""Every mistake and every failure is one line on standard error and the right exit code, never a traceback."""

from pathlib import Path

import pytest

from k3 import cli
from k3.core import errors
from tests.cli.conftest import K3


@pytest.mark.parametrize(
    ("arguments", "line", "hint"),
    [
        (("ndoes",), 'k3: unknown command "ndoes"; did you mean "nodes"?', "k3 --help"),
        (("--stor", "x"), 'k3: unknown flag "--stor"', "k3 --help"),
        (("get", "pods"), 'k3: "pods" is nothing k3 keeps; write: k3 get nodes, or: k3 get events', "k3 --help"),
        (("get",), "k3: which kind; write: k3 get nodes, or: k3 get events", "k3 --help"),
        (("ls",), 'k3: unknown command "ls"; did you mean: k3 nodes', "k3 --help"),
        (("list",), 'k3: unknown command "list"; did you mean: k3 nodes', "k3 --help"),
        (("status",), 'k3: unknown command "status"; did you mean: k3 nodes', "k3 --help"),
        (("nodes", "pod/a"), 'k3: "pod/a" is not a node, expected NAME or node/NAME', "k3 nodes --help"),
        (("nodes", "node/"), 'k3: "node/" lacks a name, expected NAME or node/NAME', "k3 nodes --help"),
        (
            ("nodes", "--sort-by", "agee"),
            'k3: --sort-by: there is no column "agee", expected a column (name, ',
            "k3 nodes --help",
        ),
        (("describe",), "k3: which node? Write: k3 describe node NAME", "k3 describe --help"),
        (("describe", "a", "-l", "b"), "k3: give NAMEs or a selector, not both", "k3 describe --help"),
        (("events", "--for", "pod/a"), 'k3: "pod/a" is not a node, expected NAME or node/NAME', "k3 events --help"),
        (("\x1b[31m",), r'k3: unknown command "\x1b[31m"', "k3 --help"),
        (("nodes", "--wath"), "k3: unrecognized arguments: --wath", "k3 nodes --help"),
        (("nodes", "--sel", "a"), "k3: unrecognized arguments: --sel", "k3 nodes --help"),
        (("nodes", "-o", "xml"), "k3: argument -o/--output: invalid choice: 'xml'", "k3 nodes --help"),
        (("nodes", "a", "-l", "b"), "k3: give NAMEs or a selector, not both", "k3 nodes --help"),
        (("nodes", "--store"), "k3: argument --store: expected one argument", "k3 nodes --help"),
        (("version", "x"), "k3: unrecognized arguments: x", "k3 version --help"),
    ],
)
def test_usage_is_one_line_and_where_to_look(k3: K3, arguments: tuple[str, ...], line: str, hint: str) -> None:
    result = k3(*arguments)
    said, told, *rest = result.err.splitlines()
    assert (result.code, result.out, rest) == (2, "", [])
    assert said.startswith(line)
    assert told.startswith(f'Run "{hint}"')


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nodes", "--store", "sqlit:///x"), "k3: --store: not a store's URL, expected memory://"),
        (("nodes", "--store", "mysql://u:hunter2"), "k3: --store: bad host or port in the mysql:// URL"),
        (("nodes", "--config", "/none.yaml"), "k3: cannot read the configuration file /none.yaml: No such file or directory"),
        (("network", "--peer-ttl", "90"), 'k3: --peer-ttl: bad duration "90", expected like 90s, 1m30s or 1.5h'),
        (("network", "--peer-ttl", "1s"), 'k3: --peer-ttl: bad value "1s", expected 2s or more'),
        (("network", "--register-self=maybe"), 'k3: --register-self: bad value "maybe", expected true or false'),
        (("network", "--node-name", "Web_1"), 'k3: --node-name: bad value "Web_1", expected lower-case'),
        (("network", "--listen", "7946"), 'k3: --listen: bad value "7946", expected [host]:port'),
    ],
)
def test_bad_settings_are_one_line_and_2(k3: K3, arguments: tuple[str, ...], line: str) -> None:
    result = k3(*arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(line)
    assert "hunter2" not in result.err


def test_a_password_given_in_the_wrong_place_is_not_repeated(k3: K3) -> None:
    for secret in ("mysql://k3:hunter2@db/k3", "etcd://u:hunter2/x@h", "mysql://k3:hunt@hunter2@db/k3"):
        result = k3("nodes", "--stores", secret)
        assert result.code == 2
        assert "hunter2" not in result.err


def test_a_corrupt_store_is_one_line(k3: K3, tmp_path: Path) -> None:
    (tmp_path / "k3.db").write_bytes(b"not a database at all, but long enough to be taken for one" * 100)
    result = k3("nodes", "--store", f"sqlite://{tmp_path}/k3.db")
    assert result.code in {1, 4}
    assert result.out == ""
    assert result.err.startswith("k3: ")
    assert "unexpected" not in result.err
    assert result.err.count("\n") == 1


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(_: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", run)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.Unavailable("no answer from etcd://h:2379"), 4, "k3: no answer from etcd://h:2379\n"),
        (errors.Conflict("two\nlines"), 5, "k3: two\\nlines\n"),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [errors.NotFound("gone")])]), 3, "k3: gone\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ZeroDivisionError("oops"),
            1,
            "k3: unexpected ZeroDivisionError: oops (run with --log-level debug for the traceback)\n",
        ),
        (OSError("mysql://a:hunter2@h/db"), 1, "k3: unexpected OSError: mysql://a:***@h/db (run with "),
    ],
)
def test_each_error_has_its_line_and_code(
    k3: K3, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    _raising(monkeypatch, error)
    result = k3("nodes")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(line)
    assert result.err.count("\n") == (1 if line else 0)


def test_the_traceback_is_there_for_who_asks(k3: K3, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, ZeroDivisionError("oops"))
    for flags in (("--log-level", "debug"), ("--log-level=debug",)):
        lines = k3("nodes", *flags).err.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1] == "k3: unexpected ZeroDivisionError: oops"
