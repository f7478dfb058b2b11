"""What a kube-apiserver 1.37 made of a list of cases, recorded with it, and what this package makes of the same."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.server.patching import cases
from tests.server.patching.replaying import Replaying

RECORDED: Final[dict[str, list[Any]]] = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list(cases.CASES))
def test_a_recorded_case(name: str) -> None:
    assert cases.played(name, Replaying().do) == RECORDED[name]


def test_every_record_is_of_a_case() -> None:
    assert RECORDED.keys() == cases.CASES.keys()
