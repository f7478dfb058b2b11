"""The law of every parser, tried on made inputs and on those of the corpus: to add a case is to add a file."""

from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.parser import Parser, hold
from tests.fuzz.running import EXAMPLES, tried
from tests.fuzz.table import PARSERS

CORPUS: Final = Path(__file__).parent.parent / "corpus"
BROKEN: Final[dict[str, str]] = {}
"""Files of the corpus for which the law does not hold yet, and why."""


def _each() -> list[object]:
    """Returns the parsers; for one that is broken, the corpus holds what few made inputs may or may not find."""
    return [
        pytest.param(
            parser,
            id=name,
            marks=[pytest.mark.xfail(reason=parser.broken, run=bool(EXAMPLES), strict=False)] if parser.broken else [],
        )
        for name, parser in PARSERS.items()
    ]


@pytest.mark.parametrize("parser", _each())
def test_whatever_comes_is_taken_within_bounds_or_refused(parser: Parser) -> None:
    tried(parser.inputs, lambda data: hold(parser, data))


def _files() -> list[object]:
    files = sorted(file for file in CORPUS.rglob("*") if file.is_file())
    names = [str(file.relative_to(CORPUS)) for file in files]
    return [
        pytest.param(
            PARSERS[file.parent.name],
            file,
            id=name,
            marks=[pytest.mark.xfail(reason=BROKEN[name], strict=True)] if name in BROKEN else [],
        )
        for name, file in zip(names, files, strict=True)
    ]


@pytest.mark.parametrize(("parser", "file"), _files())
def test_the_corpus(parser: Parser, file: Path) -> None:
    hold(parser, file.read_bytes())


def test_every_parser_has_a_corpus_and_every_corpus_a_parser() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(PARSERS)
    assert set(BROKEN) <= {str(file.relative_to(CORPUS)) for file in CORPUS.rglob("*")}
