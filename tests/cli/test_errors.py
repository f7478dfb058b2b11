"""Every mistake and every failure is one line on standard error and the right exit code, never a traceback."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from k3 import cli
from k3.cli import opening
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
        (("members",), 'k3: unknown command "members"; did you mean: k3 nodes', "k3 --help"),
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
        (("nodes", "--wath"), 'k3: unknown flag "--wath"; did you mean --watch?', "k3 nodes --help"),
        (("nodes", "--sel", "a"), 'k3: unknown flag "--sel"; did you mean --selector?', "k3 nodes --help"),
        (("nodes", "-o"), "k3: -o needs a value: -o FORMAT", "k3 nodes --help"),
        (("nodes", "-oxml"), 'k3: -o: bad value "xml", expected table, wide, json, yaml, name', "k3 nodes --help"),
        (("version", "-o=xml"), 'k3: -o: bad value "xml", expected text, json', "k3 version --help"),
        (("up", "--service-port", "1"), 'k3: unknown flag "--service-port"; did you mean --listen?', "k3 up --help"),
        (("nodes", "-x"), 'k3: unknown flag "-x"', "k3 nodes --help"),
        (("nodes", "-watch"), 'k3: unknown flag "-watch"; did you mean --watch?', "k3 nodes --help"),
        (("nodes", "--watch=yes"), "k3: --watch takes no value", "k3 nodes --help"),
        (
            ("nodes", "--output", "yml"),
            'k3: --output: bad value "yml", expected table, wide, json, yaml, name; did',
            "k3 nodes --help",
        ),
        (("network", "--nodename", "x"), 'k3: unknown flag "--nodename"; did you mean --node-name?', "k3 network --help"),
        (("network", "--node_name=x"), 'k3: unknown flag "--node_name"; did you mean --node-name?', "k3 network --help"),
        (("network", "-node-name", "x"), 'k3: unknown flag "-node-name"; did you mean --node-name?', "k3 network --help"),
        (("network", "--ttl", "5s"), 'k3: unknown flag "--ttl"; did you mean --peer-ttl?', "k3 network --help"),
        (("network", "--port", "1"), 'k3: unknown flag "--port"; did you mean --listen?', "k3 network --help"),
        (("network", "--debug"), 'k3: unknown flag "--debug"; did you mean --log-level debug?', "k3 network --help"),
        (
            ("discovery", "--name", "x"),
            'k3: unknown flag "--name"; did you mean --service-name or --node-name?',
            "k3 discovery --help",
        ),
        (("discovery", "--once=1"), "k3: --once takes no value", "k3 discovery --help"),
        (("network", "--no-register-self=x"), "k3: --no-register-self takes no value", "k3 network --help"),
        (("nodes", "a", "-l", "b"), "k3: give NAMEs or a selector, not both", "k3 nodes --help"),
        (("nodes", "--store"), "k3: --store needs a value: --store URL", "k3 nodes --help"),
        (("nodes", "--store", "--watch"), "k3: --store needs a value: --store URL", "k3 nodes --help"),
        (("version", "x"), 'k3: unexpected argument "x"', "k3 version --help"),
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
        (
            ("nodes", "--store", "sqlit:///x"),
            'k3: --store: k3 has no store "sqlit"; it has etcd, kubernetes, memory, mysql, sqlite; did you mean "sqlite"?',
        ),
        (("nodes", "--store", "mysql://u:hunter2"), "k3: --store: bad host or port in the mysql:// URL"),
        (("nodes", "--config", "/none.yaml"), "k3: cannot read the configuration file /none.yaml: No such file or directory"),
        (
            ("network", "--peer-ttl", "90"),
            'k3: --peer-ttl: bad duration "90", expected like 90s, 1m30s or 1.5h; did you mean 90s?',
        ),
        (("network", "--peer-ttl=5"), 'k3: --peer-ttl: bad duration "5", expected like 90s, 1m30s or 1.5h; did you mean 5s?'),
        (("network", "--peer-ttl", "-1s"), 'k3: --peer-ttl: bad duration "-1s", must not be negative'),
        (("network", "--forget-after", "-5m"), 'k3: --forget-after: bad duration "-5m", must not be negative'),
        (("discovery", "--watch-interval", "-.5h"), 'k3: --watch-interval: bad duration "-.5h", must not be negative'),
        (("discovery", "--service-port", "-1"), 'k3: --service-port: bad value "-1", expected 0 to 65535'),
        (("nodes", "--log-level", "loud"), "k3: --log-level: expected one of debug, info, warning, error"),
        (
            ("nodes", "--log-level", "warnin"),
            'k3: --log-level: expected one of debug, info, warning, error; did you mean "warning"?',
        ),
        (("network", "--peer-ttl", "1s"), 'k3: --peer-ttl: bad value "1s", expected 2s or more'),
        (("network", "--register-self=maybe"), 'k3: --register-self: bad value "maybe", expected true or false'),
        (("network", "--node-name", "Web_1"), 'k3: --node-name: bad value "Web_1", expected lower-case'),
        (("network", "--listen", "7946"), 'k3: --listen: bad value "7946", expected [address]:port'),
        (("network", "--domain", "example.org."), 'k3: --domain: bad value "example.org.", expected local., the only domain'),
    ],
)
def test_bad_settings_are_one_line_and_2(k3: K3, arguments: tuple[str, ...], line: str) -> None:
    result = k3(*arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(line)
    assert "hunter2" not in result.err


@pytest.mark.parametrize("word", ["INFO", "warn", "Warning", "DEBUG"])
def test_a_level_is_taken_in_either_case(k3: K3, word: str) -> None:
    assert k3("nodes", "--log-level", word).code == 0
    assert k3("nodes", f"--log-level={word}", "--log-format", "JSON").code == 0


def test_a_command_that_only_looks_does_not_touch_the_agents_log(k3: K3, tmp_path: Path) -> None:
    (tmp_path / "k3.yaml").write_text(f"log: {{path: {tmp_path}/none/k3.log}}", encoding="utf-8")
    assert k3("nodes", "--config", str(tmp_path / "k3.yaml")).code == 0
    refused = k3("network", "--config", str(tmp_path / "k3.yaml"))
    assert refused.code == 2
    assert refused.err == (
        f"k3: log.path: cannot write {tmp_path}/none/k3.log: "
        f"there is no directory {tmp_path}/none; make it, or name another file\n"
    )


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
    for flags in (("--log-level", "debug"), ("--log-level=debug",), ("--log-level", "DEBUG")):
        lines = k3("nodes", *flags).err.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1] == "k3: unexpected ZeroDivisionError: oops"


@pytest.mark.parametrize("command", ["network", "up"])
def test_a_name_to_listen_on_is_refused_before_the_store_is_opened(k3: K3, tmp_path: Path, command: str) -> None:
    file = tmp_path / "new.db"
    result = k3(command, "--listen", "localhost:7946", "--store", f"sqlite://{file}")
    expected = "expected [address]:port like :7946 or 127.0.0.1:7946; did you mean 127.0.0.1:7946?"
    assert (result.code, result.err.splitlines()[0]) == (2, f'k3: --listen: bad value "localhost:7946", {expected}')
    assert not file.exists()


@pytest.mark.parametrize("package", ["aiohttp", "cryptography", "lightkube-models"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("server",),
        ("up", "--api-listen", "127.0.0.1:0"),
        ("kubeconfig", "--certificate", "--server", "https://hub.example:8443"),
    ],
)
def test_a_package_that_the_server_lacks_is_told_with_the_command_that_installs_it(
    k3: K3, monkeypatch: pytest.MonkeyPatch, package: str, arguments: tuple[str, ...]
) -> None:
    (module,) = (name for name, each in opening.SERVER_PACKAGES.items() if each == package)
    monkeypatch.setattr(opening, "find_spec", lambda name: None if name == module else find_spec(name))
    result = k3(*arguments)
    (line,) = result.err.splitlines()
    assert (result.code, result.out) == (1, "")
    assert line.startswith(f"k3: k3 server needs the package {package}, which is not installed: ")
    assert "requirements/server.txt" in line
