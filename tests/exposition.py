"""Reads the text format of Prometheus (0.0.4) as strictly as its documentation and its linter have it."""

import re
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL: Final = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_HELP: Final = re.compile(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\[\\n])+)")
_TYPE: Final = re.compile(rf"# TYPE ({_NAME}) (counter|gauge)")
_SAMPLE: Final = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)")
_PAIR: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_ESCAPED: Final = re.compile(r'\\(["\\n])')


@dataclass
class Read:
    """One family of a page."""

    type: str
    help: str
    samples: dict[frozenset[tuple[str, str]], float] = field(default_factory=dict)

    def of(self, **labels: str) -> float:
        """The number under exactly these labels; 0 where there is none."""
        return self.samples.get(frozenset(labels.items()), 0)


def parse(text: str) -> dict[str, Read]:
    """The families by name. Raises AssertionError for whatever a scraper may refuse, or a linter objects to."""
    assert text == "" or text.endswith("\n")
    found: dict[str, Read] = {}
    current = ""
    lines = text.split("\n")[:-1]
    for number, line in enumerate(lines):
        if help_ := _HELP.fullmatch(line):
            current = help_[1]
            assert current not in found, f"{current} is there twice"
            type_ = _TYPE.fullmatch(lines[number + 1])
            assert type_, lines[number + 1]
            assert type_[1] == current
            assert current.endswith("_total") == (type_[2] == "counter"), f"{current}: a counter's name, and no other, ends so"
            found[current] = Read(type_[2], help_[2])
        elif not _TYPE.fullmatch(line):
            sample = _SAMPLE.fullmatch(line)
            assert sample, f"not a sample: {line!r}"
            assert sample[1] == current, f"{sample[1]} stands among {current}"
            pairs = _PAIR.findall(sample[2] or "")
            labels = frozenset((name, _ESCAPED.sub(lambda m: {"n": "\n"}.get(m[1], m[1]), value)) for name, value in pairs)
            assert len(dict(pairs)) == len(pairs), f"a label is there twice: {line!r}"
            assert labels not in found[current].samples, f"{line!r} is there twice"
            found[current].samples[labels] = float(sample[3])
    assert all(read.samples for read in found.values())
    return found
