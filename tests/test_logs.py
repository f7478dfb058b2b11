"""Log lines: one per event, whatever the fields hold, as text and as JSON."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3 import logs
from k3.config import LogSettings, Note
from k3.core.errors import ConfigInvalid
from k3.safe_text import one_line, printable, without_passwords

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
    with pytest.raises(ConfigInvalid, match=r"log\.path: cannot write .*: No such file or directory"):
        set_up(path=str(tmp_path / "none" / "k3.log"))


def test_notes_are_told(set_up: SetUp) -> None:
    lines = set_up()
    logs.tell(logging.getLogger("k3.x"), [Note("config.ignored", {"sections": ("a", "b")}), Note("w", {}, warning=True)])
    assert [line.split()[1:] for line in lines()] == [["INFO", "config.ignored", "sections=a,b"], ["WARN", "w"]]


def test_once_says_each_trouble_once_until_it_is_over(set_up: SetUp) -> None:
    lines = set_up()
    once = logs.Once(logging.getLogger("k3.x"), capacity=2)
    assert [once.say("a", "store.lost", {"url": "x"}) for _ in range(1_000)].count(True) == 1
    assert once.over("a")
    assert not once.over("a")
    assert once.say("a", "store.lost", {"url": "x"})
    assert [once.say(key, "e", {}) for key in "bcbc"] == [True, True, False, False]
    assert once.say("a", "store.lost", {}), "the oldest is forgotten first"
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
