"""The import rules of pyproject.toml hold what the modules say of themselves, and every module has its place."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

from tests import source

pytestmark = source.READERS
ROOT = Path(__file__).parent.parent


def contract(id_: str) -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = settings["tool"]["importlinter"]["contracts"]
    return next(each for each in found if each["id"] == id_)


def docstrings() -> dict[str, str]:
    names = {name: ".".join(("k3", *Path(name).with_suffix("").parts)) for name in source.trees()}
    return {names[name]: ast.get_docstring(tree) or "" for name, tree in source.trees().items()}


def test_what_calls_itself_pure_is_held_to_it() -> None:
    claimed = {name for name, text in docstrings().items() if re.search(r"\b[Pp]ure\b", text)}
    assert claimed == set(contract("pure")["source_modules"])


def test_the_root_holds_packages_only() -> None:
    loose = {path.name for path in source.SOURCE.iterdir() if path.is_file()}
    assert loose <= {"__init__.py", "__main__.py", "py.typed"}
    packages = {path.name for path in source.SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    layers = {each.strip() for layer in contract("layers")["layers"] for each in layer.split("|")}
    assert packages == layers
