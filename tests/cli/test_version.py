"""`k3 version`."""

import json

import pytest

from k3 import __version__
from tests.cli.conftest import K3


@pytest.mark.parametrize("arguments", [("version",), ("--version",), ("-V",), ("version", "-o", "text")])
def test_text(k3: K3, arguments: tuple[str, ...]) -> None:
    result = k3(*arguments)
    assert (result.code, result.out, result.err) == (0, f"k3 {__version__}\n", "")


def test_json(k3: K3) -> None:
    assert json.loads(k3("version", "-o", "json").out)["version"] == __version__
