"""What the source says: events it logs, texts it may print, environment names it reads. Found by reading it, not running it."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.docs.pages import ROOT

GAP = "…"
"""Stands in a text for what is known only when it is printed."""

_EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
_LOGS = frozenset({"debug", "info", "warning", "error", "exception", "log", "say"})


@cache
def _trees() -> tuple[ast.Module, ...]:
    files = sorted((ROOT / "src" / "k3").rglob("*.py"))
    return tuple(ast.parse(file.read_text(encoding="utf-8")) for file in files)


def _nodes() -> Iterator[ast.AST]:
    for tree in _trees():
        yield from ast.walk(tree)


@cache
def events() -> frozenset[str]:
    """Names of events: what is handed to a logging method, or made a `Note` or a `Trouble`."""
    found = set()
    for node in _nodes():
        if isinstance(node, ast.Call) and _is_log(node.func):
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            found |= {text for text in texts if _EVENT.fullmatch(text)}
    return frozenset(found)


def _is_log(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in _LOGS
    return isinstance(function, ast.Name) and function.id in {"Note", "Trouble", "_own_record"}


@cache
def texts() -> tuple[str, ...]:
    """Every literal, with a gap for each value that is put in."""
    found = []
    for node in _nodes():
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return tuple(found)


def says(line: str) -> bool:
    """Whether k3 may print a line like this one, which has a gap for each value."""
    wanted = line.strip(GAP).strip()
    return any(wanted in text for text in texts())
