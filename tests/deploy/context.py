"""What the builder of an image is sent: the project's files, less what .dockerignore leaves out."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from tests.docs.pages import ROOT

NEVER: Final = frozenset({".git", ".venv"})
"""Large, and left out by any .dockerignore worth its name; `is_sent` is asked for them all the same, by a test."""


def patterns(file: Path) -> list[str]:
    """The lines that count."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def is_sent(path: PurePosixPath, rules: Sequence[str]) -> bool:
    """By the last rule that matches the path or a directory above it; `!` sends, anything else leaves out."""
    sent = True
    for rule in rules:
        expression = _expression(rule.removeprefix("!").strip("/"))
        if any(expression.fullmatch(str(each)) for each in (path, *path.parents)):
            sent = rule.startswith("!")
    return sent


def _expression(rule: str) -> re.Pattern[str]:
    """`**` is any number of directories, `*` and `?` stay within a name (Docker's rules for .dockerignore)."""
    named = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", rule)
    return re.compile("".join(named.get(part, re.escape(part)) for part in parts))


def send(target: Path) -> None:
    """Copy the context there."""
    rules = patterns(ROOT / ".dockerignore")
    for file in (each for top in ROOT.iterdir() if top.name not in NEVER for each in _files(top)):
        path = PurePosixPath(file.relative_to(ROOT))
        if is_sent(path, rules):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target / path)


def _files(top: Path) -> list[Path]:
    return [each for each in top.rglob("*") if each.is_file()] if top.is_dir() else [top]
