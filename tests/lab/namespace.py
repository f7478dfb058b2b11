"""A set of namespaces kept alive by one process, and everything that lives in them.

They have no name in the file system: they end when the last process in them does. The keeper waits on a pipe whose
other end only the test process holds. Should that be killed, the keeper ends everything in its network and itself.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.lab.waiting import until

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000

_KEEPER = """
set -e
mount -t tmpfs -o mode=755 k3lab /run
mount -t tmpfs -o mode=755 k3lab /var/lib
mount -t sysfs k3lab /sys
mkdir -p /run/home
printf '%s' "$2" > /run/machine-id
if [ ! -e /etc/machine-id ]; then
    mkdir /run/etc /run/etc/upper /run/etc/work
    mount -t overlay k3lab -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
    : > /etc/machine-id
fi
mount --bind /run/machine-id /etc/machine-id
echo "$1" > /proc/sys/kernel/hostname
ip link set lo up
for scope in all default; do
    for pair in accept_dad=0 accept_ra=0 router_solicitations=0; do
        file=/proc/sys/net/ipv6/conf/$scope/${pair%=*}
        [ ! -e "$file" ] || echo "${pair#*=}" > "$file"
    done
done
echo ready
read -r _ || true
find -L /proc -maxdepth 3 -path '/proc/[0-9]*/ns/net' -samefile /proc/$$/ns/net 2> /dev/null |
    cut -d/ -f3 | grep -vx $$ | xargs -r kill -9
"""

_open: "dict[int, Namespace]" = {}


def left_open() -> "list[Namespace]":
    """Namespaces this test process made and has not closed."""
    return list(_open.values())


class Namespace:
    """Network, hostname and mounts of one machine."""

    def __init__(self, name: str, *, machine_id: str) -> None:
        self.name = name
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--uts", "--mount", "sh", "-c", _KEEPER, "k3lab", name, machine_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.pid = self._keeper.pid
        _open[self.pid] = self
        assert self._keeper.stdout is not None
        first = self._keeper.stdout.readline()
        if first != "ready\n":
            self.close()
            msg = f"no namespace for {name}: {first}"
            raise AssertionError(msg)
        self._identity = os.stat(f"/proc/{self.pid}/ns/net")  # noqa: PTH116 - Path.stat is no shorter

    def entering(self, argv: Sequence[str], *, only_network: bool = False) -> list[str]:
        """The command line that runs `argv` inside; nsenter replaces itself, so the process id stays."""
        kinds = ["--net"] if only_network else ["--net", "--uts", "--mount"]
        return ["nsenter", "--target", str(self.pid), *kinds, "--", *argv]

    def ip(self, *commands: str) -> None:
        """Run commands of `ip` (`link set eth0 down`) in one go; the first that fails raises AssertionError."""
        self._feed(["ip", "-batch", "-"], "\n".join(commands) + "\n")

    def nft(self, ruleset: str) -> None:
        """Load a ruleset, all of it or nothing."""
        self._feed(["nft", "-f", "-"], ruleset)

    def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function on a thread inside this network (not its mounts), and return what it returns.

        Sockets made there stay in this network wherever they are used later.
        """
        results: list[T] = []
        failures: list[BaseException] = []

        def inside() -> None:
            try:
                self._enter()
                results.append(function())
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                failures.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        for error in failures:
            raise error
        return results[0]

    def pids(self) -> list[int]:
        """Every process in this network except the keeper."""
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in numbers if pid != self.pid and self._holds(pid)]

    def kill_all(self) -> None:
        """SIGKILL for everything inside, and wait until it is gone."""

        def swept() -> bool:
            left = self.pids()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        until(swept, guard_seconds=10, every_seconds=0.005, what=f"end of everything in {self.name}")

    def close(self) -> None:
        """End everything inside; the kernel then removes interfaces, mounts and the namespaces themselves."""
        if self.pid not in _open:
            return
        try:
            if hasattr(self, "_identity"):
                self.kill_all()
        finally:
            self._keeper.kill()
            self._keeper.communicate()
            del _open[self.pid]

    def root(self) -> Path:
        """The file system as seen from inside."""
        return Path(f"/proc/{self.pid}/root")

    def _feed(self, argv: Sequence[str], text: str) -> None:
        done = subprocess.run(
            self.entering(argv, only_network=True), input=text, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"{self.name}: {' '.join(argv)}: {done.stderr.strip()}\n{text}"

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        network = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(network, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the network of {self.name}")
        finally:
            os.close(network)

    def _holds(self, pid: int) -> bool:
        try:
            return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), self._identity)  # noqa: PTH116 - as above
        except OSError:
            return False
