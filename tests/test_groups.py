"""`xdist_group` holds: tests that share a server or a place run on one worker, whatever versions are installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import os
from pathlib import Path

import pytest

pytestmark = [pytest.mark.xdist_group("one")]


@pytest.mark.parametrize("number", range(12))
def test_grouped(number):
    Path(f"{number}.worker").write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


@pytest.mark.slow
def test_a_group_stays_on_one_of_two_workers(tmp_path: Path) -> None:
    """Two workers are asked for and no way to share out: the one in pyproject.toml has to do."""
    (tmp_path / "test_one.py").write_text(TESTS, encoding="utf-8")
    root = Path(__file__).parents[1]
    options = [f"--rootdir={tmp_path}", f"--config-file={root}/pyproject.toml", "-p", "no:cacheprovider", "-q", "-n", "2"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_one.py"],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "12 passed" in done.stdout, done.stdout + done.stderr
    assert len({file.read_text(encoding="utf-8") for file in tmp_path.glob("*.worker")}) == 1
