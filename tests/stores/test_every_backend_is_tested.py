"""A backend is a public module of `k3.stores`; each has a test file here that runs the suite and the state machine."""

import pkgutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import k3.stores

HERE = Path(__file__).parent
BACKENDS = sorted(module.name for module in pkgutil.iter_modules(k3.stores.__path__) if not module.name.startswith("_"))


def test_there_are_backends() -> None:
    assert {"memory", "sqlite"} <= set(BACKENDS)


@pytest.mark.parametrize("name", BACKENDS)
def test_it_has_a_test_file(name: str) -> None:
    text = (HERE / f"test_{name}.py").read_text()
    assert "(StoreSuite)" in text
    assert "(StoreMachine)" in text


@pytest.mark.parametrize("name", BACKENDS)
def test_it_can_be_opened_by_connect(name: str) -> None:
    spec = find_spec(f"k3.stores.{name}")
    assert spec is not None
    assert spec.origin is not None
    assert "open_store" in Path(spec.origin).read_text()
