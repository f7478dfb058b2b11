"""What an agent counts, and the text in which Prometheus reads it.

Whoever counts is handed a `Counters` and one of the families below. Counting is an addition to a dict; text is made when it is
asked for. A label's values come from k3's own words wherever possible, and are bounded in number where they do not.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from k3.core import limits

OTHER: Final = "other"
"""Stands for all values beyond `limits.METRIC_VALUES`."""


@dataclass(frozen=True, slots=True)
class Family:
    """Numbers of one kind that only grow, told apart by one label. Its name ends in `_total`."""

    name: str
    help: str
    label: str


REFUSALS: Final = Family("k3_refusals_total", "What was refused because a bound was met, by the bound.", "bound")


class Counters:
    """The counts of one agent, from its start."""

    def __init__(self) -> None:
        self._counts: dict[Family, Counter[str]] = {}

    def add(self, family: Family, value: str, number: int = 1) -> None:
        """Counts `number` more under this value of the family's label."""
        counts = self._counts.setdefault(family, Counter())
        if value not in counts and len(counts) >= limits.METRIC_VALUES:
            value = OTHER
        counts[value] += number

    def of(self, family: Family) -> Counter[str]:
        """Returns the counts of a family, by its label's value."""
        return self._counts.get(family, Counter())
