"""Dockerfiles as data: stages and their instructions. Knows as much of the language as ours use, and refuses the rest."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

KNOWN: Final = frozenset(
    {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "HEALTHCHECK", "LABEL", "EXPOSE", "ENTRYPOINT"}
)
_OPTION: Final = re.compile(r"--([a-z-]+)=(\S+)\s+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """`COPY --from=build /a /b`: keyword COPY, options {from: build}, text `/a /b`."""

    line: int
    keyword: str
    options: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    @property
    def exec_form(self) -> list[str]:
        """A command given as a list. Raises AssertionError for one that a shell would have to take apart."""
        listed = json.loads(self.text.removeprefix("CMD ")) if "[" in self.text else None
        assert isinstance(listed, list), f"line {self.line}: {self.keyword} is not in exec form"
        return [str(word) for word in listed]

    def assignments(self, environ: dict[str, str]) -> dict[str, str]:
        """`A=b C=$A/d`, with what is known put in."""
        pairs = [word.partition("=") for word in self.words]
        return {name: Template(value).substitute(environ) for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def all(self, keyword: str) -> list[Instruction]:
        return [each for each in self.instructions if each.keyword == keyword]

    def one(self, keyword: str) -> Instruction:
        (found,) = self.all(keyword)
        return found


def read(file: Path) -> list[Stage]:
    """The stages of a Dockerfile, in their order."""
    stages: list[Stage] = []
    for each in instructions(file.read_text(encoding="utf-8")):
        assert each.keyword in KNOWN, f"{file}:{each.line}: {each.keyword} is not known here"
        if each.keyword == "FROM":
            base, *name = each.words
            stages.append(Stage(base, name[1] if name else "", ()))
        else:
            last = stages[-1]
            stages[-1] = Stage(last.base, last.name, (*last.instructions, each))
    return stages


def instructions(text: str) -> list[Instruction]:
    """Lines joined where they end in a backslash, without comments and blank lines."""
    found: list[Instruction] = []
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        begun = begun if parts else number
        parts.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            found.append(_instruction(begun, " ".join(parts)))
            parts = []
    assert not parts, f"line {begun}: goes on after the end of the file"
    return found


def _instruction(line: int, text: str) -> Instruction:
    keyword, _, rest = text.partition(" ")
    options = {}
    while option := _OPTION.match(rest):
        options[option[1]] = option[2]
        rest = rest[option.end() :]
    return Instruction(line, keyword, options, rest.strip())
