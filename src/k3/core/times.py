"""Moments and lengths of time as text: RFC 3339 as Kubernetes writes it, durations as Go writes them. Reads no clock. Pure."""

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from k3.core import limits


@lru_cache(maxsize=64)
def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: what Kubernetes writes (`2026-11-23T08:00:00Z`)."""
    return at.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


@lru_cache(maxsize=64)
def precise_timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds (`2026-11-23T08:00:00.123Z`)."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse_timestamp(text: object) -> datetime | None:
    """An RFC 3339 time, in UTC, or None."""
    if not isinstance(text, str) or len(text) > limits.TIME_CHARACTERS:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is UTC:
            return at
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the second: within a day of the first or the last there is, in another zone
        return None


_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A duration as Go writes it (`90s`, `1m30s`, `1.5h`) in seconds; 0.0 for anything else."""
    if len(text) > limits.DURATION_CHARACTERS:  # looking for one takes time by the square of the length
        return 0.0
    return _seconds(text)


@lru_cache(maxsize=1_024)
def _seconds(text: str) -> float:
    if not _DURATION.match(text) or _DURATION.sub("", text):
        return 0.0
    total = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(text))
    return total if math.isfinite(total) else 0.0


def duration(total_seconds: float) -> str:
    """The shortest Go duration: `90s`, `1m30s` and the like are all read back; this one writes plain seconds."""
    return f"{total_seconds:.3f}".rstrip("0").rstrip(".") + "s"
