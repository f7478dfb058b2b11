"""What an agent counts, and the text in which Prometheus reads it (exposition format 0.0.4).

Whoever counts is handed a `Counters` and one of the families below. Counting is an addition to a dict; text is made when it is
asked for. The values of a label are bounded in number, and are k3's own words wherever there is one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from k3.core import limits
from k3.core.records import dataclass

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OTHER: Final = "other"
"""Stands for all values of a label beyond `limits.METRIC_VALUES`."""


@dataclass(frozen=True, slots=True)
class Family:
    """Numbers of one kind that only grow, told apart by one label. The name ends in `_total`."""

    name: str
    help: str
    label: str
    values: tuple[str, ...] = ()
    """Values of the label that are told before they are counted: an increase can only be seen of what was there before."""


PROBES: Final = Family(
    "k3_probes_total",
    "Questions to machines, by how they went.",
    "outcome",
    ("answered", "refused", "no_answer", "impostor", "not_asked"),
)
WRITES: Final = Family(
    "k3_writes_total",
    "Writes of Nodes to the store, by how they went.",
    "outcome",
    ("created", "updated", "deleted", "raced", "unavailable", "not_permitted", "failed"),
)
REFUSALS: Final = Family(
    "k3_refusals_total",
    "What was refused or dropped since a bound was met, by the bound.",
    "bound",
    ("connections", "visits", "writes"),
)
UNUSABLE: Final = Family("k3_announcements_unusable_total", "Announcements that broke a rule, by what was wrong.", "why")


class Counters:
    """The counts of one agent, from its start."""

    def __init__(self) -> None:
        self._counts: dict[Family, Counter[str]] = {}

    def add(self, family: Family, value: str, number: int = 1) -> None:
        """Counts `number` more under this value of the family's label."""
        counts = self._counts.setdefault(family, Counter(dict.fromkeys(family.values, 0)))
        if value not in counts and len(counts) >= limits.METRIC_VALUES:
            value = OTHER
        counts[value] += number

    def of(self, family: Family) -> Mapping[str, int]:
        """Returns the counts of a family, by its label's value."""
        return self._counts.get(family) or dict.fromkeys(family.values, 0)


Labels = tuple[tuple[str, str], ...]
"""Names and values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A family as it stands now: a number for each set of labels."""

    name: str
    type: Literal["counter", "gauge"]
    help: str
    samples: Mapping[Labels, float]


def counted(family: Family, counts: Mapping[str, int]) -> Metric:
    """Returns a family of counts as it stands now."""
    samples: dict[Labels, float] = {((family.label, value),): count for value, count in counts.items()}
    return Metric(name=family.name, type="counter", help=family.help, samples=samples)


def gauge(name: str, help_: str, samples: Mapping[Labels, float] | float) -> Metric:
    """Returns what may grow and shrink; a single number has no labels."""
    found: Mapping[Labels, float] = samples if isinstance(samples, Mapping) else {(): samples}
    return Metric(name=name, type="gauge", help=help_, samples=found)


def exposition(metrics: Iterable[Metric]) -> str:
    """Returns the text that Prometheus reads. A family without any number is left out."""
    found = []
    for metric in metrics:
        if metric.samples:
            found.append(head(metric.name, metric.type, metric.help))
            found += [sample(metric.name, _bounded(labels), value) for labels, value in metric.samples.items()]
    return "".join(found)


def head(name: str, type_: str, help_: str) -> str:
    """Returns the two lines above the samples of a family."""
    escaped = help_.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {type_}\n"


def sample(name: str, labels: Labels, value: float) -> str:
    """Returns the line of one number."""
    pairs = ",".join([f'{key}="{_escaped(text)}"' for key, text in labels])
    shown = str(value) if isinstance(value, int) else repr(float(value))
    return f"{name}{{{pairs}}} {shown}\n" if pairs else f"{name} {shown}\n"


def _escaped(text: str) -> str:
    """Returns the value of a label; three searches cost less than `str.translate`, and find nothing most of the time."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _bounded(labels: Labels) -> Labels:
    """Returns labels whose values are short. UTF-8 knows no lone surrogates."""
    return tuple((key, text[: limits.LABEL_VALUE_BYTES].encode("utf-8", "replace").decode()) for key, text in labels)
