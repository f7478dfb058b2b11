"""How to add a Python package to this k3: the command that works for the way it was installed. Reads; changes nothing."""

import shlex
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[3]


def how_to_install(
    extra: str,
    *packages: str,
    checkout: Path = CHECKOUT,
    prefix: Path = Path(sys.prefix),
    python: str = sys.executable,
) -> str:
    """Returns one shell command that adds packages of k3's extra of that name. The keywords say where k3 is and runs."""
    names = shlex.join(packages)
    if (prefix / "pipx_metadata.json").exists():
        return f"pipx inject {prefix.name} {names}"
    if (prefix / "uv-receipt.toml").exists() or not _has_pip(prefix):
        return f"uv pip install --python {shlex.quote(python)} {_locked(extra, checkout, names)}"
    pip = f"{shlex.quote(python)} -m pip install"
    if _is_the_system_s(prefix):
        # Debian guards its own Python against pip, and has no package of some of these.
        pip += " --user --break-system-packages"
    return f"{pip} {_locked(extra, checkout, names)}"


def _locked(extra: str, checkout: Path, names: str) -> str:
    """Returns the lock file of a source tree as pip's arguments, else the names."""
    file = checkout / "requirements" / f"{extra}.txt"
    return f"--require-hashes -r {shlex.quote(str(file))}" if file.exists() else names


def _has_pip(prefix: Path) -> bool:
    return prefix != Path(sys.prefix) or find_spec("pip") is not None


def _is_the_system_s(prefix: Path) -> bool:
    return prefix == Path(sys.base_prefix) and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
