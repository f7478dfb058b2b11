"""How to add a Python package to this k3: the command that works for the way it was installed. Reads; changes nothing."""

import shlex
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PACKAGES: Final = {"grpc": "grpcio", "google": "protobuf", "asyncmy": "asyncmy", "cryptography": "cryptography"}
"""Modules that k3 imports and the packages that bring them."""

EXTRAS: Final = {"mysql": ("asyncmy", "cryptography"), "etcd": ("grpcio", "protobuf")}
"""What a type of store needs besides k3."""

CHECKOUT: Final = Path(__file__).resolve().parents[3]


def how_to_install(
    *packages: str,
    checkout: Path = CHECKOUT,
    prefix: Path = Path(sys.prefix),
    python: str = sys.executable,
) -> str:
    """One shell command. The three keywords say where k3 is and runs."""
    names = shlex.join(packages)
    if (prefix / "pipx_metadata.json").exists():
        return f"pipx inject {prefix.name} {names}"
    if (prefix / "uv-receipt.toml").exists() or not _has_pip(prefix):
        return f"uv pip install --python {shlex.quote(python)} {_locked(packages, checkout, names)}"
    pip = f"{shlex.quote(python)} -m pip install"
    if _is_the_system_s(prefix):
        # Debian guards its own Python against pip, and has no package of some of these.
        pip += " --user --break-system-packages"
    return f"{pip} {_locked(packages, checkout, names)}"


def _locked(packages: tuple[str, ...], checkout: Path, names: str) -> str:
    """The lock file of a source tree that holds them all, else their names."""
    for extra, needed in EXTRAS.items():
        file = checkout / "requirements" / f"{extra}.txt"
        if set(packages) <= set(needed) and file.exists():
            return f"--require-hashes -r {shlex.quote(str(file))}"
    return names


def _has_pip(prefix: Path) -> bool:
    return prefix != Path(sys.prefix) or find_spec("pip") is not None


def _is_the_system_s(prefix: Path) -> bool:
    return prefix == Path(sys.base_prefix) and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
