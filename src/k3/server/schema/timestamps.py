"""Kubernetes' Time and MicroTime: which texts are taken, and their form in UTC (RFC 3339). Pure."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from k3.core.safe_text import quoted

TIME: Final = "2006-01-02T15:04:05Z07:00"
"""The layout of Time, as Go names it. Fractions of a second are taken, and dropped."""
MICRO_TIME: Final = "2006-01-02T15:04:05.000000Z07:00"
"""The layout of MicroTime: a fraction of six digits, no more and no fewer."""

_ZONE: Final = r"Z|[+-][0-9]{2}:[0-9]{2}"
_TEXT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_STEPS: Final = (
    (r"[0-9]{4}", "2006"),
    ("-", "-"),
    (r"[0-9]{2}", "01"),
    ("-", "-"),
    (r"[0-9]{2}", "02"),
    ("T", "T"),
    (r"[0-9]{1,2}", "15"),
    (":", ":"),
    (r"[0-9]{2}", "04"),
    (":", ":"),
    (r"[0-9]{2}", "05"),
)
_SHOWN: Final = 80


@lru_cache(maxsize=1_024)
def normalised(text: str, layout: str) -> str | None:
    """Returns a time in UTC, None for the zero time. Raises ValueError with the sentence that Go has.

    A write reads the same few texts several times.
    """
    if _is_normal(text, layout):
        return text
    found = _TEXT.fullmatch(text)
    if found is None or (layout == MICRO_TIME and len(found[7] or "") != len(".000000")):
        raise ValueError(_why_not(text, layout))
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    for value, low, high, name in (
        (month, 1, 12, "month"),
        (hour, 0, 23, "hour"),
        (minute, 0, 59, "minute"),
        (second, 0, 59, "second"),
    ):
        if not low <= value <= high:
            raise ValueError(_out_of_range(text, name))
    microsecond = int((found[7] or ".0")[1:7].ljust(6, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
    except ValueError:
        raise ValueError(_out_of_range(text, "day" if year else "year")) from None
    if found[8] != "Z":
        moment = _in_utc(moment, found[8], text)
    if moment == _ZERO:
        return None
    timespec = "microseconds" if layout == MICRO_TIME else "seconds"
    return moment.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


_ZERO: Final = datetime(1, 1, 1, tzinfo=UTC)
_NORMAL: Final = {TIME: "____-__-__T__:__:__Z", MICRO_TIME: "____-__-__T__:__:__.______Z"}
_SIGNS: Final = {layout: tuple((at, sign) for at, sign in enumerate(form) if sign != "_") for layout, form in _NORMAL.items()}


def _is_normal(text: str, layout: str) -> bool:
    """Whether a time has its normal form already, as most have: found so in a tenth of the time."""
    if len(text) != len(_NORMAL[layout]) or text[11:13] == "24" or text.startswith("0001"):
        return False
    for at, sign in _SIGNS[layout]:
        if text[at] != sign:
            return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return text.isascii()


def _in_utc(moment: datetime, zone: str, text: str) -> datetime:
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 24:  # noqa: PLR2004 - as Go has it
        raise ValueError(_out_of_range(text, "time zone offset hour"))
    if minutes > 60:  # noqa: PLR2004 - as Go has it
        raise ValueError(_out_of_range(text, "time zone offset minute"))
    offset = timedelta(hours=hours, minutes=minutes)
    try:
        return moment.replace(tzinfo=UTC) - (offset if zone[0] == "+" else -offset)
    except OverflowError:
        raise ValueError(_out_of_range(text, "year")) from None


def _out_of_range(text: str, name: str) -> str:
    return f"parsing time {quoted(text[:_SHOWN])}: {name} out of range"


def _why_not(text: str, layout: str) -> str:
    rest, steps = text, [*_STEPS]
    if layout == MICRO_TIME:
        steps.append((r"[.,][0-9]{6}", ".000000"))
    for pattern, name in steps:
        found = re.match(pattern, rest)
        if found is None:
            return _cannot(text, layout, rest, name)
        rest = rest[found.end() :]
    if layout == TIME and (fraction := re.match(r"[.,][0-9]+", rest)):
        rest = rest[fraction.end() :]
    found = re.match(_ZONE, rest)
    if found is None:
        return _cannot(text, layout, rest, "Z07:00")
    return f"parsing time {quoted(text[:_SHOWN])}: extra text: {quoted(rest[found.end() :][:_SHOWN])}"


def _cannot(text: str, layout: str, rest: str, name: str) -> str:
    return f"parsing time {quoted(text[:_SHOWN])} as {quoted(layout)}: cannot parse {quoted(rest[:_SHOWN])} as {quoted(name)}"
