"""The tables of `docs/states.md`, made from the entries in the code; `python -m tests.docs.states` writes them there."""

import re
from collections.abc import Mapping

from k3.view import words
from k3.view.reasons import OTHERS_REASONS, OWN_REASONS, SITUATIONS, Word
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "states.md"
TABLES: Mapping[str, Mapping[str, Word]] = {
    "state": words.STATES,
    "reason": OWN_REASONS,
    "what the record shows": SITUATIONS,
    "condition": words.CONDITIONS,
    "reason of others": OTHERS_REASONS,
}
"""By the first cell of their heads."""


def table(title: str) -> str:
    """One table, in Markdown."""
    rows = "".join(f"| `{key}` | {word.means} | {_todo(word)} |\n" for key, word in TABLES[title].items())
    return f"| {title} | it means | what to do |\n|---|---|---|\n{rows}"


def _todo(word: Word) -> str:
    if not word.command:
        return word.do
    return f"{word.do} `{word.command}`{' (on that machine)' if word.on_machine else ''}"


def written(text: str) -> str:
    """The page with its tables as the code has them."""
    for title in TABLES:
        text = re.sub(rf"^\| {re.escape(title)} \|.*\n(?:\|.*\n)*", lambda _: table(title), text, flags=re.MULTILINE)  # noqa: B023
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
