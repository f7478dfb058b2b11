"""The documentation as tests see it: pages with their fenced blocks, headings, links, tables and commands. It runs nothing.

A block of commands is fenced as `console` and says in a second word how it is proved:

    console alpha      run on a host of that name, in the order of the page; output lines must be printed so
    console parsed     understood by the command line, and not run: it speaks of machines that are not there
    console make       a target the Makefile has
    console pip        names a requirements file that is there
    console install    run in an empty directory, in the order of the page
    console deploy     commands of docker, compose and systemd, not run: what they name is there, and flags of k3 are understood

The last two are proved by `tests/deploy`.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")

_FENCE = re.compile(r"^```(.*)$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$")
_CODE = re.compile(r"`([^`]+)`")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Command:
    """A line behind a `$`, and what the page says it prints."""

    page: str
    line: int
    text: str
    prints: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} $ {self.text}"


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind the fence, and its lines."""

    page: str
    line: int
    info: str
    lines: tuple[str, ...]

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def proof(self) -> str:
        """How its commands are proved; empty for a block that has none."""
        return self.info.partition(" ")[2]

    @property
    def commands(self) -> list[Command]:
        """Each `$` line with the output up to the next one."""
        starts = [n for n, line in enumerate(self.lines) if line.startswith("$ ")]
        ends = [*starts[1:], len(self.lines)]
        return [
            Command(self.page, self.line + 1 + start, self.lines[start][2:], tuple(x for x in self.lines[start + 1 : end] if x))
            for start, end in zip(starts, ends, strict=True)
        ]


@dataclass(frozen=True)
class Page:
    """One file of documentation."""

    name: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        found: list[Block] = []
        start, info, inside = 0, "", list[str]()
        for number, line in enumerate(self.text.splitlines(), 1):
            fence = _FENCE.match(line)
            if fence and not start:
                start, info, inside = number, fence[1].strip(), []
            elif fence:
                found.append(Block(self.name, start, info, tuple(inside)))
                start = 0
            elif start:
                inside.append(line)
        assert not start, f"{self.name}:{start}: a fence that is not closed"
        return found

    @property
    def prose(self) -> str:
        """Everything but the blocks."""
        lines, inside = [], False
        for line in self.text.splitlines():
            if _FENCE.match(line):
                inside = not inside
            elif not inside:
                lines.append(line)
        return "\n".join(lines)

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What `#...` may name, by the rules of the usual Markdown viewers."""
        headings = [_slug(found[1]) for line in self.prose.splitlines() if (found := _HEADING.match(line))]
        assert not [name for name, count in Counter(headings).items() if count > 1], f"{self.name}: two headings of one name"
        return set(headings)

    @property
    def codes(self) -> set[str]:
        """Every `piece` of code in the text."""
        return set(_CODE.findall(self.prose))

    def tables(self, first: str) -> list[list[list[str]]]:
        """The cells of every table whose head begins with this word, head left out."""
        found: list[list[list[str]]] = []
        rows: list[list[str]] | None = None
        for line in self.prose.splitlines():
            if not line.startswith("|"):
                rows = None
                continue
            cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
            if rows is None:
                rows = []
                if cells[0] == first:
                    found.append(rows)
            elif set(line) - set("|-: "):
                rows.append(cells)
        return found


@cache
def pages() -> tuple[Page, ...]:
    """All of them."""
    files = [ROOT / name for name in PAGES] + sorted((ROOT / "docs").rglob("*.md"))
    return tuple(Page(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")) for file in files)


def page(name: str) -> Page:
    """The one of that name."""
    return next(each for each in pages() if each.name == name)


def commands(proof: str) -> list[Command]:
    """Every command that is proved in this way."""
    return [each for one in pages() for block in one.blocks if block.proof == proof for each in block.commands]


def bare(cell: str) -> list[str]:
    """The pieces of code in a table's cell."""
    return _CODE.findall(cell)


def _slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")
