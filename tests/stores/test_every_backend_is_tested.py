"""A backend is a public module of `k3.stores`; each has a test file here that runs the suite and the state machine."""

from pathlib import Path

import pytest

import k3.stores

HERE = Path(__file__).parent
BACKENDS = sorted(path.stem for path in Path(k3.stores.__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def test_there_are_backends() -> None:
    assert {"memory", "sqlite"} <= set(BACKENDS)


@pytest.mark.parametrize("name", BACKENDS)
def test_it_has_a_test_file(name: str) -> None:
    text = (HERE / f"test_{name}.py").read_text()
    assert "(StoreSuite)" in text
    assert "(StoreMachine)" in text


@pytest.mark.parametrize("name", BACKENDS)
def test_it_can_be_opened_by_connect(name: str) -> None:
    assert "async def open_store(" in (Path(k3.stores.__file__).parent / f"{name}.py").read_text()
