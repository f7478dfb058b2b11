"""Log lines: one per event, whatever the fields hold, as text and as JSON."""

import errno
import io
import json
import logging
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.agent import logs
from k3.agent.log_output import StreamOutput
from k3.core import limits
from k3.core.errors import ConfigInvalid
from k3.core.safe_text import one_line, printable, without_passwords
from k3.settings.structs import LogSettings, Note

Lines = Callable[[], list[str]]
SetUp = Callable[..., Lines]


@pytest.fixture
def set_up() -> Iterator[SetUp]:
    """`set_up(**settings)` returns a function that gives the lines logged since."""
    root, ours = logging.getLogger(), logging.getLogger("k3")
    handlers, levels = root.handlers[:], (root.level, ours.level)

    def start(**settings: str) -> Lines:
        stream = io.StringIO()
        logs.set_up(LogSettings(**settings), stream=stream)
        return lambda: stream.getvalue().split("\n")[:-1]

    yield start
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def record(name: str = "k3.test", event: str = "peer.ready", **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, __file__, 1, event, None, None)
    made.created = 1795420800.123
    made.fields = fields
    return made


def text(**fields: Any) -> str:
    line = logs.TextFormatter().format(record(**fields))
    return line.removeprefix("2026-11-23T08:00:00.123Z INFO peer.ready ")


def test_a_line() -> None:
    line = logs.TextFormatter().format(record(node="web1", port=7946))
    assert line == "2026-11-23T08:00:00.123Z INFO peer.ready node=web1 port=7946"


def test_a_line_as_json() -> None:
    line = json.loads(logs.JsonFormatter().format(record(node="web1", port=7946, level="x")))
    wanted = {
        "time": "2026-11-23T08:00:00.123Z",
        "level": "INFO",
        "event": "peer.ready",
        "node": "web1",
        "port": 7946,
        "level_": "x",
    }
    assert line == wanted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("10.0.0.7:7946", "10.0.0.7:7946"),
        ("a b", '"a b"'),
        ("", '""'),
        ('say "hi"', r'"say \"hi\""'),
        ("a=b", '"a=b"'),
        ("a\nb", r'"a\nb"'),
        ("\x1b[31m\x9b\u202e\ud800", r'"\u001b[31m\u009b\u202e\ud800"'),
        ("机器", '"机器"'),
        (True, "true"),
        (None, "null"),
        (0.1 + 0.2, "0.3"),
        (float("inf"), "inf"),
        (("eth0", "eth1"), "eth0,eth1"),
        (Path("/var/lib/k3"), "/var/lib/k3"),
        ("mysql://u:hunter2@h/d", "mysql://u:***@h/d"),
        ("x" * 5_000, "x" * 4_096 + "..."),
    ],
)
def test_values(value: object, shown: str) -> None:
    assert text(x=value) == f"x={shown}"


@given(st.text(alphabet=st.characters(), max_size=60), st.text(alphabet=st.characters(), max_size=20))
def test_no_text_can_break_a_line_or_reach_the_terminal(value: str, key: str) -> None:
    hostile = record(event=value)
    hostile.fields = {key: value, "list": [value], "map": {value: value}}
    line = logs.TextFormatter().format(hostile)
    assert line.isprintable()
    document = logs.JsonFormatter().format(hostile)
    assert document.isprintable()
    assert document.isascii()
    json.loads(document)


@given(st.text(max_size=60))
def test_a_value_is_one_word_or_one_quoted_text(value: str) -> None:
    shown = text(x=value, end=1).removeprefix("x=").removesuffix(" end=1")
    if not shown.startswith('"'):
        assert " " not in shown
        assert "=" not in shown
    else:
        assert json.loads(shown) == without_passwords(value)


def test_a_librarys_sentence_becomes_a_field(set_up: SetUp) -> None:
    lines = set_up()
    logging.getLogger("asyncio").warning("took %s s\x1b[0m", 3)
    logging.getLogger("asyncio").info("not shown")
    [line] = lines()
    assert line.endswith(r'WARN asyncio message="took 3 s\u001b[0m"')


def test_a_traceback_stays_on_one_line(set_up: SetUp) -> None:
    lines = set_up()
    try:
        int("a\nb")
    except ValueError:
        logging.getLogger("k3.test").exception("worker.failed", extra={"fields": {"n": 1}})
    [line] = lines()
    assert " ERROR worker.failed n=1 error=" in line
    assert 'trace="Traceback (most recent call last):\\n' in line


def test_the_level_holds_for_k3_and_libraries_are_heard_only_in_trouble(set_up: SetUp) -> None:
    lines = set_up(level="debug")
    logging.getLogger("k3.x").debug("shown")
    logging.getLogger("another.library").debug("hidden")
    assert [line.split()[1:] for line in lines()] == [["DEBUG", "shown"]]
    lines = set_up(level="error")
    logging.getLogger("k3.x").warning("hidden")
    logging.getLogger("another.library").warning("hidden")
    assert lines() == []


def test_setting_up_again_replaces_the_former(set_up: SetUp) -> None:
    first = set_up()
    second = set_up(format="json")
    logging.getLogger("k3.x").info("once")
    assert first() == []
    assert len(second()) == 1


def test_a_file_gets_the_same_lines(set_up: SetUp, tmp_path: Path) -> None:
    lines = set_up(path=str(tmp_path / "k3.log"))
    logging.getLogger("k3.x").info("written")
    assert (tmp_path / "k3.log").read_text(encoding="utf-8").splitlines() == lines()


def test_a_file_that_cannot_be_written_is_one_line(set_up: SetUp, tmp_path: Path) -> None:
    for path, why in {
        tmp_path / "none" / "k3.log": rf"there is no directory {tmp_path}/none; make it, or name another file",
        tmp_path: "Is a directory; name another file",
        Path("/proc/nobody"): "there is no directory /proc; make it",
    }.items():
        with pytest.raises(ConfigInvalid, match=rf"log\.path: cannot write {path}: {why}"):
            set_up(path=str(path))


def said(number: int) -> str:
    logging.getLogger("k3.x").info("number.%s", number)
    return f" INFO number.{number}"


def test_a_rotated_file_is_made_again(set_up: SetUp, tmp_path: Path) -> None:
    path = tmp_path / "k3.log"
    set_up(path=str(path))
    first = said(1)
    path.rename(tmp_path / "k3.log.1")
    second = said(2)
    assert (tmp_path / "k3.log.1").read_text().endswith(f"{first}\n"), "create"
    assert path.read_text().endswith(f"{second}\n")
    assert path.read_text().count("\n") == 1
    (tmp_path / "k3.log.1").write_bytes(path.read_bytes())
    os.truncate(path, 0)
    third = said(3)
    assert path.read_text().count("\n") == 1, "copytruncate: no hole at the beginning"
    assert path.read_text().endswith(f"{third}\n")
    path.unlink()
    fourth = said(4)
    assert path.read_text().endswith(f"{fourth}\n")


def test_where_the_file_cannot_be_made_again_the_former_one_goes_on(set_up: SetUp, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    lines = set_up(path=str(folder / "k3.log"))
    said(1)
    folder.rename(tmp_path / "away")
    said(2)
    assert (tmp_path / "away" / "k3.log").read_text().count("\n") == 2
    folder.mkdir()
    said(3)
    assert (folder / "k3.log").read_text().count("\n") == 1
    assert len(lines()) == 3


class Full:
    """An output that takes what there is space for."""

    name = "/var/log/k3.log"

    def __init__(self) -> None:
        self.text, self.space = "", 10_000

    def write(self, text: str) -> None:
        self.text, self.space = self.text + text[: max(self.space, 0)], self.space - len(text)
        if self.space < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_where_the_file_has_no_name_any_more_lines_are_lost_and_counted(set_up: SetUp, tmp_path: Path) -> None:
    """Its directory was removed: what goes on to be written there, nobody can read."""
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "k3.log"
    lines = set_up(path=str(path))
    said(1)
    path.unlink()
    folder.rmdir()
    said(2)
    said(3)
    [told] = [line for line in lines() if " log.lost " in line]
    assert f'to={path} why="No such file or directory"' in told
    folder.mkdir()
    said(4)
    assert "log.resumed lost=2" in path.read_text()


def test_a_full_disk_costs_one_line_and_is_told_when_it_is_over(set_up: SetUp) -> None:
    lines, disk = set_up(), Full()
    handler = logs.LineHandler(disk)
    handler.setFormatter(logs.TextFormatter())
    logging.getLogger().addHandler(handler)
    disk.space = 0
    for number in range(100):
        said(number)
    told = [line for line in lines() if "number." not in line]
    assert len(told) == 1
    assert 'WARN log.lost to=/var/log/k3.log why="No space left on device"' in told[0]
    disk.space = 10_000
    said(100)
    resumed, last = disk.text.splitlines()
    assert resumed.endswith("WARN log.resumed lost=100")
    assert last.endswith("number.100")
    said(101)
    assert len(disk.text.splitlines()) == 3


def test_a_line_that_was_cut_does_not_swallow_the_next(set_up: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k3.log"
    set_up(path=str(path))
    write = os.write

    def fail() -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", lambda d, data: write(d, data[:7]) if not path.stat().st_size else fail())
    said(1)
    monkeypatch.setattr(os, "write", write)
    second = said(2)
    cut, resumed, last = path.read_text().splitlines()
    assert len(cut) == 7
    assert resumed.endswith("log.resumed lost=1")
    assert last.endswith(second)


def test_in_the_background_nobody_waits_for_an_output(set_up: SetUp) -> None:
    lines = set_up()
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    handler = logs.LineHandler(StreamOutput(stream, "pipe"))
    handler.setFormatter(logs.TextFormatter())
    logging.getLogger().addHandler(handler)
    with logs.in_background():
        began = time.monotonic()
        for number in range(limits.LOG_LINES + 3_000):
            said(number)
        assert time.monotonic() - began < 10, "the pipe was full long before"
        got, tail = [], b""
        while b"log.resumed" not in tail:
            if select.select([reading], [], [], 0.05)[0]:
                got.append(os.read(reading, 65_536))
                tail = tail[-100:] + got[-1]
            else:
                said(-1)  # all was read: what comes next goes through, and tells what was lost
    assert re.search(rb"log\.resumed lost=\d+\n", b"".join(got))
    assert b"number.0\n" in b"".join(got)
    assert len(lines()) > limits.LOG_LINES, "another output loses nothing to a slow one, or tells it"
    logging.getLogger().removeHandler(handler)
    stream.close()
    os.close(reading)


def test_what_is_said_comes_behind_what_was_logged(capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up(LogSettings())
    with logs.in_background():
        for number in range(100):
            said(number)
        logs.say("The list.\n")
    assert capfd.readouterr().out == "The list.\n"


def test_notes_are_told(set_up: SetUp) -> None:
    lines = set_up()
    logs.tell(logging.getLogger("k3.x"), [Note("config.ignored", {"sections": ("a", "b")}), Note("w", {}, warning=True)])
    assert [line.split()[1:] for line in lines()] == [["INFO", "config.ignored", "sections=a,b"], ["WARN", "w"]]


def test_once_says_each_trouble_once_until_it_is_over(set_up: SetUp) -> None:
    lines = set_up()
    once = logs.Once(logging.getLogger("k3.x"), capacity=2)
    assert [once.say("a", "it.failed", {"url": "x"}) for _ in range(1_000)].count(True) == 1
    assert once.over("a")
    assert not once.over("a")
    assert once.say("a", "it.failed", {"url": "x"})
    assert [once.say(key, "e", {}) for key in "bcbc"] == [True, True, False, False]
    assert once.say("a", "it.failed", {}), "the oldest is forgotten first"
    assert len(lines()) == 5


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("at mysql://u:p@h/d and etcd://a:b@h", "at mysql://u:***@h/d and etcd://a:***@h"),
        ("mysql://u:p@q@h/d", "mysql://u:***@h/d"),
        ("mysql://u:p/q@h/d", "mysql://u:***@h/d"),
        ("mysql://u@h/d sqlite:///a@b", "mysql://u@h/d sqlite:///a@b"),
        ("http://[::1]:2379 a@b", "http://[::1]:2379 a@b"),
    ],
)
def test_without_passwords(said: str, shown: str) -> None:
    assert without_passwords(said) == shown


def test_printable_is_bounded_and_leaves_what_is_visible() -> None:
    assert printable("web1 机器 é") == "web1 机器 é"
    assert printable("a\tb\x00\x7f\u2028\U000e0001") == r"a\tb\x00\x7f\u2028\U000e0001"
    assert printable("x" * 20, limit=5) == "xxxxx..."
    assert one_line("a\r\nb://c:d@e") == r"a\r\nb://c:***@e"


def test_records_go_to_standard_error(capsys: pytest.CaptureFixture[str], set_up: SetUp) -> None:
    set_up()
    logs.set_up(LogSettings(), stream=sys.stderr)
    logging.getLogger("k3.x").info("here")
    said = capsys.readouterr()
    assert (said.out, said.err.endswith(" INFO here\n")) == ("", True)
