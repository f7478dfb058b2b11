"""What the source says: events it logs, texts it may print, environment names it reads. Found by reading it, not running it."""

import ast
import re
from functools import cache
from typing import Any

from tests import source

GAP = "…"
"""Stands in a text for what is known only when it is printed."""

_EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
_LOGS = frozenset({"debug", "info", "warning", "error", "exception", "log", "say"})


@cache
def events() -> frozenset[str]:
    """Names of events: what is handed to a logging method, or made a `Note` or a `Trouble`."""
    found = set()
    for name, node in source.nodes(ast.Call):
        if _is_log(node.func) and not _is_for_tests(name):
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            found |= {text for text in texts if _EVENT.fullmatch(text)}
    return frozenset(found)


def _is_for_tests(name: str) -> bool:
    return name.startswith("testing/")


def _is_log(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in _LOGS
    return isinstance(function, ast.Name) and function.id in {"Note", "Trouble", "_own_record"}


@cache
def texts() -> tuple[str, ...]:
    """Every literal, with a gap for each value that is put in."""
    found = []
    for name, node in source.nodes(ast.JoinedStr, ast.Constant):
        if _is_for_tests(name):
            continue
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return tuple(found)


def says(line: str) -> bool:
    """Whether k3 may print a line like this one, which has a gap for each value."""
    wanted = line.strip(GAP).strip()
    return any(wanted in text for text in texts())


_OWN_WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")


@cache
def reasons() -> frozenset[str]:
    """Every reason that the code can put into a condition or an Event of its own.

    Found where one is handed to what writes it (`Transition`, `set_ready`, `set_condition`, `State`), or a condition is
    written out.
    A name stands for what its function, or its module, assigns to it. What is not a literal anywhere (the reason of a stored
    condition, handed on) is nothing that the code chose.
    """
    found: set[str] = set()
    for name, tree in source.trees().items():
        if _is_for_tests(name) or not any(_reasons_in(node) for node in ast.walk(tree)):
            continue
        outer = _assigned(tree.body)
        for function in [tree, *(each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))]:
            inner = outer | _assigned(list(ast.walk(function))) if isinstance(function, ast.FunctionDef) else outer
            for node in ast.walk(function):
                for expression in _reasons_in(node):
                    found |= _texts_of(expression, inner)
    return frozenset(text for text in found if _OWN_WORD.fullmatch(text))


def _reasons_in(node: ast.AST) -> list[ast.expr]:
    """What stands in the place of a reason."""
    if isinstance(node, ast.Dict):
        keys = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)}
        return [keys["reason"]] if {"type", "status", "reason"} <= keys.keys() else []
    if not isinstance(node, ast.Call):
        return []
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    named = [word.value for word in node.keywords if word.arg == "reason"]
    place = {"Transition": 0, "set_ready": 2}.get(name)
    if place is not None:
        return named + node.args[place : place + 1]
    return named if name in {"set_condition", "State"} else []


def _assigned(body: list[Any]) -> dict[str, list[ast.expr]]:
    """What is assigned to each name; of a tuple, to each of its names the part that it gets."""
    found: dict[str, list[ast.expr]] = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:
                found.setdefault(target.id, []).append(node.value)
            elif isinstance(target, ast.Tuple):
                for place, name in enumerate(target.elts):
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(_Part(place, node.value))
    return found


class _Part(ast.expr):
    """One part of a tuple."""

    def __init__(self, place: int, value: ast.expr) -> None:
        super().__init__()
        self.place, self.value = place, value


def _texts_of(node: ast.expr, known: dict[str, list[ast.expr]], place: int | None = None) -> set[str]:
    """The literals that an expression may be; with a `place`, those that this part of its tuples may be."""
    match node:
        case _Part():
            return _texts_of(node.value, known, node.place)
        case ast.Constant(value=str(text)) if place is None:
            return {text}
        case ast.Tuple() if place is not None:
            return _texts_of(node.elts[place], known)
        case ast.IfExp():
            parts = [node.body, node.orelse]
        case ast.Dict():
            parts = node.values
        case ast.Subscript():
            parts = [node.value]
        case ast.Name():
            parts, known = known.get(node.id, []), {**known, node.id: []}
        case _:
            parts = []
    return {text for part in parts for text in _texts_of(part, known, place)}
