"""A backend from outside k3: found by its entry point, held to the suite, and used by every command as k3's own are."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from k3.core.errors import StartFailed
from k3.core.store import Store
from k3.settings import backends
from k3.settings.storage import read_url
from k3.stores import connect
from k3.testing.store_machine import StoreMachine
from k3.testing.store_suite import Opener, StoreSuite

TOYS = Path(__file__).parent.parent / "toys"


@pytest.fixture(autouse=True, scope="module")
def _installed() -> Iterator[None]:
    """The toy's package lies where Python looks for packages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOYS)
        backends._entries.cache_clear()
        yield
    backends._entries.cache_clear()


async def opened(folder: Path) -> Store:
    found = read_url(f"toy://{folder}", "--store")
    storage = backends.load(found.type).storage(found.settings, default_path=Path("/nowhere"), where="--store")
    return await connect(storage)


class TestToyStore(StoreSuite):
    @pytest.fixture
    async def open_store(self, tmp_path: Path) -> Opener:
        return lambda: opened(tmp_path)


def k3(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "k3.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(TOYS)},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_every_command_takes_it(tmp_path: Path) -> None:
    url = f"toy://{tmp_path}"
    assert f"no store at {url}. Make it with: k3 network --store {url}" in k3("nodes", "--store", url, code=3)
    k3("store", "copy", "memory://", url)
    assert k3("nodes", "--store", url) == f"No nodes in {url}. Start one with: k3 network --store {url}\n"
    assert f"store       {url}\n" in k3("store", "check", "--store", url)
    config = tmp_path / "k3.yaml"
    config.write_text(f"storage: {{type: toy, toy: {{folder: {tmp_path}}}}}\n")
    assert url in k3("nodes", "--config", str(config))
    config.write_text("storage: {type: toy, toy: {foldr: /x}}\n")
    assert 'storage.toy.foldr: unknown key; did you mean "folder"?' in k3("nodes", "--config", str(config), code=2)


def test_errors_know_it() -> None:
    assert 'k3 has no store "toi"; it has etcd, kubernetes, memory, mysql, sqlite, toy; did you mean "toy"?' in k3(
        "nodes", "--store", "toi:///x", code=2
    )
    assert 'did you mean "toy"?' in k3("nodes", "--store", "toys:///x", code=2)
    assert "a toy:// URL needs a folder, as in toy:///folder" in k3("nodes", "--store", "toy://x", code=2)


async def test_a_driver_that_is_missing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(StartFailed, match="storage type toy needs the package k3-toy-driver, which is not installed"):
        await opened(tmp_path)


class ToyMachine(StoreMachine):
    async def open(self) -> Store:
        store = await opened(Path(self.stack.enter_context(TemporaryDirectory())))
        self.stack.push_async_callback(store.aclose)
        return store


ToyMachine.TestCase.settings = settings(max_examples=5, stateful_step_count=20, deadline=None)
TestToyMachine = ToyMachine.TestCase
