"""What a test needs from the machine, and what happens where it is missing: skipped by name, counted, or failed.

`make test` installs all of it. Under K3_REQUIRE_SERVERS=1, as in CI, a missing need fails the test instead. The tests run
whatever servers the PATH finds first; K3_TEST_ETCD=/opt/etcd-3.6/etcd, or the same of any other command, names one instead.
"""

import functools
import os
import shutil
import subprocess
from typing import Final

import pytest

NETNS: Final = "netns"
INIT: Final = "systemd as process 1"
COMMANDS: Final = {
    "etcd": ("etcd",),
    "etcdctl": ("etcdctl",),
    "mariadb": ("mariadbd", "mariadb-install-db", "mariadb"),
    "consul": ("consul",),
    "avahi": ("avahi-daemon", "avahi-browse"),
    "docker-compose": ("docker-compose",),
    "curl": ("curl",),
    "chromium": ("chromium",),
    "faketime": ("faketime",),
    "kubectl": ("kubectl",),
    "shells": ("bash", "zsh", "fish"),
    "man": ("man", "mandoc"),
    "systemd": ("systemd-analyze",),
    INIT: ("systemctl", "/lib/systemd/systemd", "unshare"),
    NETNS: ("ip", "nft", "nsenter", "unshare"),
}
MARK: Final = "not on this machine: "

_VERSIONS: Final = {
    "etcd": ["--version"],
    "mariadbd": ["--version"],
    "consul": ["version"],
    "kubectl": ["version", "--client", "--short"],
}
_SYSTEM_PATHS: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_TRIALS: Final = {
    NETNS: "ip link set lo up && nft add table bridge lab && mount -t tmpfs lab /run && mount -t sysfs lab /sys",
    INIT: "mount -t cgroup2 lab /mnt && mkdir /mnt/k3-lab-trial && rmdir /mnt/k3-lab-trial",
}


def require(name: str) -> None:
    """Skip, or under K3_REQUIRE_SERVERS=1 fail, the running test unless the machine has what `name` stands for."""
    why = missing(name)
    if not why:
        return
    if os.environ.get("K3_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{MARK}{name} ({why}), and K3_REQUIRE_SERVERS=1", pytrace=False)
    pytest.skip(f"{MARK}{name} ({why})")


@functools.cache
def missing(name: str) -> str:
    """Why the need is not met, or empty text. Raises KeyError for a name that stands for nothing."""
    absent = [command for command in COMMANDS[name] if not find(command)]
    if absent:
        return f"no {', '.join(absent)}"
    return _refusal(_TRIALS[name]) if name in _TRIALS else ""


def find(command: str) -> str | None:
    """Where a command is: what K3_TEST_<COMMAND> names, else the PATH and the system directories, not on every user's path."""
    named = os.environ.get(f"K3_TEST_{command.upper().replace('-', '_')}")
    return shutil.which(named or command, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATHS}")


def versions() -> list[str]:
    """Each server that the tests would run, as it calls itself, and where it is."""
    found = [(find(command), words) for command, words in _VERSIONS.items()]
    return [f"{_first_line([path, *words])} ({path})" for path, words in found if path]


def _first_line(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no version: {error}"
    return (done.stdout.strip() or "no version").splitlines()[0]


def _refusal(trial_text: str) -> str:
    """Try what the laboratory does, since neither being root nor a capability says whether a container allows it."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATHS}"
    trial = subprocess.run(
        ["unshare", "--net", "--uts", "--mount", "sh", "-ec", trial_text],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if trial.returncode == 0 else trial.stderr.strip().splitlines()[-1]
