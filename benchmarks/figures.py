"""What a part of the benchmarks reports: figures, each with its target and what was measured beside it. One JSON object.

Measures nothing itself. A figure without a target is reported for what it is; a part never leaves one out that it missed.
"""

import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `low` and `high` bound what was aimed at; `beside` is what it is to be read against.

    `beside_measured` has the same unit, so that the ratio of the two says something on any machine.
    """

    name: str
    measured: float
    unit: str
    low: float | None = None
    high: float | None = None
    beside: str = ""
    beside_measured: float | None = None
    remark: str = ""

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """From one entry of a part's JSON."""
        return cls(**document)

    @property
    def is_missed(self) -> bool:
        """Whether it lies outside what was aimed at."""
        return (self.low is not None and self.measured < self.low) or (self.high is not None and self.measured > self.high)

    @property
    def ratio(self) -> float | None:
        """Measured over what was measured beside it."""
        return self.measured / self.beside_measured if self.beside_measured else None


def tell(figures: Iterable[Figure], **details: object) -> None:
    """Print a part's result, with the machine's load average at the end of it."""
    result = {"figures": [asdict(figure) for figure in figures], "details": {**details, "load": os.getloadavg()[0]}}
    print(json.dumps(result, indent=2))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
