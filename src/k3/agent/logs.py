"""What k3 says while it runs: one line per event on stderr, as text or JSON.

    log.info("peer.ready", extra={"fields": {"node": "web1", "port": 7946}})
    2026-11-23T08:00:00.123Z INFO peer.ready node=web1 port=7946

An event is a name that k3 chose; everything else stands in fields. A field may hold what a stranger sent: it is quoted
and escaped, so that it can neither end a line, nor move a terminal's cursor, nor pass for another field.
"""

import asyncio
import json
import logging
import re
import sys
import traceback
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from k3.agent.log_output import FileOutput, Lane, Outlet, Output, StreamOutput
from k3.agent.log_repeats import Repeats
from k3.core import limits, times
from k3.core.errors import ConfigInvalid
from k3.core.safe_text import one_line, without_passwords
from k3.settings.structs import LogSettings, Note

_BARE: Final = re.compile(r"[A-Za-z0-9_.:/@%+,*-]+")
_WORDS: Final = {"WARNING": "WARN", "CRITICAL": "ERROR"}
_K3: Final = "k3"
_STDERR: Final = "standard error"
_LAST_LINES_SECONDS: Final = 1.0
"""How long an ending process waits for a terminal or disk that takes no lines."""
_REPEATS_SECONDS: Final = 5.0
"""How often is looked whether there is something to tell that was held back."""


def set_up(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Sends every record of this process to stderr (and the file, if one is named). Raises ConfigInvalid."""
    formatter = JsonFormatter() if settings.format == "json" else TextFormatter()
    handlers = [LineHandler(StreamOutput(stream or sys.stderr, _STDERR))]
    if settings.path:
        handlers.append(LineHandler(_file(settings.path)))
    root = logging.getLogger()
    for former in _handlers():
        root.removeHandler(former)
        former.close()
    repeats = Repeats()
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(repeats)
        root.addHandler(handler)
    level = logging.getLevelName(settings.level.upper())
    root.setLevel(max(level, logging.WARNING))  # libraries are heard only where something is wrong
    logging.getLogger(_K3).setLevel(level)


def _handlers() -> "list[LineHandler]":
    return [each for each in logging.getLogger().handlers if isinstance(each, LineHandler)]


def _file(text: str) -> FileOutput:
    path = Path(text).expanduser().absolute()
    try:
        return FileOutput(path)
    except FileNotFoundError:
        msg = f"log.path: cannot write {path}: there is no directory {path.parent}; make it, or name another file"
    except PermissionError:
        msg = f"log.path: cannot write {path}: this user may not; let it, or name another file"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        msg = f"log.path: cannot write {path}: {why}; name another file"
    raise ConfigInvalid(msg)


@contextmanager
def in_background() -> Iterator[None]:
    """Has lines written by threads of their own: an agent does not wait for a terminal or a disk (ADR 32)."""
    handlers = _handlers()
    for handler in handlers:
        handler.lane = Lane()
    try:
        yield
    finally:
        _tell_repeats(early=True)
        for handler in handlers:
            # A lane that is still stuck in its output keeps it: the handler must not write beside it, nor wait there.
            if handler.lane is not None and handler.lane.close(_LAST_LINES_SECONDS):
                handler.lane = None


async def tell_repeats() -> None:
    """Tells, for ever, what was held back since it repeats itself, once it has been for long enough."""
    while True:
        await asyncio.sleep(_REPEATS_SECONDS)
        _tell_repeats()


def _tell_repeats(*, early: bool = False) -> None:
    repeats = _repeats()
    for record in repeats.due(early=early) if repeats else []:
        for handler in _handlers():
            handler.handle(record)


def _repeats() -> Repeats | None:
    return next((each for handler in _handlers() for each in handler.filters if isinstance(each, Repeats)), None)


def dropped() -> dict[str, int]:
    """Returns how many lines were not written, and why, since logging was set up."""
    repeats = _repeats()
    return {"repeated": repeats.held_back if repeats else 0, "output": sum(each.outlet.lost for each in _handlers())}


def say(text: str) -> None:
    """Prints to standard output, for a person, behind what was logged. As a log line it may be lost and is not waited for."""
    outlet = Outlet(StreamOutput(sys.stdout, "standard output"), failed=lambda _: None, resumed=lambda _: "")
    lane = next((each.lane for each in _handlers() if each.outlet.output.name == _STDERR), None)
    if lane is None:
        outlet.write(text)
    else:
        lane.put(outlet, text)


class LineHandler(logging.Handler):
    """Hands each record, as a line, to one output. When that takes no more, the others are told, once."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self.outlet = Outlet(output, failed=self._failed, resumed=self._resumed)
        self.lane: Lane | None = None
        """The thread that writes; None: the caller does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record, or hands it to the lane, if there is one, without waiting."""
        line = f"{self.format(record)}\n"
        if self.lane is None:
            self.outlet.write(line)
        else:
            self.lane.put(self.outlet, line)

    def close(self) -> None:
        """Closes the output where it is a file."""
        if isinstance(self.outlet.output, FileOutput) and self.lane is None:
            self.outlet.output.close()
        super().close()

    def _failed(self, error: OSError) -> None:
        advice = "lines are lost until it can be written again; nothing else is"
        said = _own_record("log.lost", {"to": self.outlet.output.name, "why": error.strerror or str(error), "advice": advice})
        for other in _handlers():
            if other is not self:
                other.handle(said)

    def _resumed(self, lost: int) -> str:
        return f"{self.format(_own_record('log.resumed', {'lost': lost}))}\n"


def _own_record(event: str, fields: Mapping[str, object]) -> logging.LogRecord:
    record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, event, None, None)
    record.fields = fields
    return record


def tell(log: logging.Logger, notes: Iterable[Note]) -> None:
    """Logs what was noticed before logging was set up."""
    for note in notes:
        log.log(logging.WARNING if note.warning else logging.INFO, note.event, extra={"fields": dict(note.fields)})


class TextFormatter(logging.Formatter):
    """`TIME LEVEL event key=value key="quoted value"`."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line, whatever the record holds."""
        event, fields = _event(record)
        said = "".join(f" {one_line(key)}={_text(value)}" for key, value in fields.items())
        return f"{_time(record)} {_level(record)} {event}{said}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time`, `level`, `event` and the fields; a field of one of these names gets a `_` behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line, whatever the record holds."""
        event, fields = _event(record)
        line: dict[str, object] = {"time": _time(record), "level": _level(record), "event": event}
        for key, value in fields.items():
            line[f"{key}_" if key in {"time", "level", "event"} else key] = _plain(value)
        return json.dumps(line)


def _event(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """Returns name and fields. A library's sentence becomes the field `message` of an event named for its logger."""
    given = getattr(record, "fields", None)
    fields: dict[str, object] = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {}
    event = _said(record)
    if record.name.partition(".")[0] != _K3:
        event, fields = record.name, {"message": event, **fields}
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = record.exc_info[1]
        fields["trace"] = "".join(traceback.format_exception(record.exc_info[1]))
    return one_line(event), fields


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _time(record: logging.LogRecord) -> str:
    return times.precise_timestamp(datetime.fromtimestamp(record.created, UTC))


def _level(record: logging.LogRecord) -> str:
    return _WORDS.get(record.levelname, record.levelname)


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Returns the value as JSON can say it; anything unknown as its text, without passwords and of bounded length."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 6) if abs(value) < float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    text = without_passwords(str(value))
    return text if len(text) <= limits.LOG_VALUE_CHARACTERS else text[: limits.LOG_VALUE_CHARACTERS] + "..."


def _text(value: object) -> str:
    """Returns a value that reads as one word: bare where it is one, else quoted as in JSON, unprintable characters escaped."""
    plain = _plain(value)
    if isinstance(plain, list):
        plain = ",".join(str(each) for each in plain)
    word = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    if _BARE.fullmatch(word):
        return word
    quoted = json.dumps(word, ensure_ascii=False)
    return (
        quoted if quoted.isprintable() else "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in quoted)
    )


class Once:
    """Logs each trouble once: when it begins, and again only after it was over.

    Remembers at most `capacity` troubles; the oldest is forgotten first.
    """

    def __init__(self, log: logging.Logger, *, capacity: int = 1_024) -> None:
        self._log = log
        self._capacity = capacity
        self._said: OrderedDict[Hashable, None] = OrderedDict()

    def say(self, key: Hashable, event: str, fields: Mapping[str, object], *, level: int = logging.WARNING) -> bool:
        """Logs the event unless this trouble was already said. Returns whether it was logged now."""
        if key in self._said:
            self._said.move_to_end(key)
            return False
        self._said[key] = None
        if len(self._said) > self._capacity:
            self._said.popitem(last=False)
        self._log.log(level, event, extra={"fields": dict(fields)})
        return True

    def over(self, key: Hashable) -> bool:
        """Notes that the trouble has ended. Returns whether it had been said, so that its end is worth a line too."""
        return self._said.pop(key, _NOTHING) is not _NOTHING


_NOTHING: Final = object()
