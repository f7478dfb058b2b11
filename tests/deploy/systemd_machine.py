"""A machine of the laboratory whose process 1 is systemd, with k3 installed from the image and the project's units.

Everything but /usr and Python is its own: /etc, /run, /var, process ids, and a branch of the control groups that is
removed with it. Only the units given are there, besides the targets they name.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.deploy import image as images
from tests.deploy.image import Image
from tests.docs.pages import ROOT
from tests.lab import Host, Process, until

INIT: Final = "/lib/systemd/systemd"
UNITS: Final = "etc/systemd/system"
_TARGETS: Final = ("lab", "sysinit", "basic", "shutdown", "network-online", "multi-user")
_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files systemd\ngroup: files systemd\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/os-release": "ID=lab\n",
    "etc/machine-id": f"{uuid4().hex}\n",
}

# The branch is made before systemd's own view of the control groups begins there.
_BOOT: Final = """
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
for pair in $SYSTEM; do mount --rbind "${pair%%:*}" "$root${pair#*:}"; done
mount -t cgroup2 lab "$root/tmp"
mkdir "$root/tmp/$BRANCH"
echo $$ > "$root/tmp/$BRANCH/cgroup.procs"
umount "$root/tmp"
exec unshare --pid --fork --cgroup --ipc sh -ec '
    mount -t proc lab "$1/proc"
    mount -t sysfs lab "$1/sys"
    mount -t cgroup2 lab "$1/sys/fs/cgroup"
    mount -t tmpfs -o mode=755 lab "$1/run"
    mount -t tmpfs -o mode=755 lab "$1/dev"
    for name in null zero full random urandom tty; do
        : > "$1/dev/$name"
        mount --bind "/dev/$name" "$1/dev/$name"
    done
    mkdir "$1/dev/pts" "$1/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 lab "$1/dev/pts"
    ln -s pts/ptmx "$1/dev/ptmx"
    mount --make-rshared "$1"  # as on a booted machine, or no credential finds its way into a service
    exec env -i container=lab PATH=/usr/bin:/usr/sbin SYSTEMD_UNIT_PATH=/etc/systemd/system chroot "$1" \\
        "$2" --system --unit=lab.target --show-status=no --log-target=null
' lab "$root" "$INIT"
"""
_REMOVE: Final = 'mount -t cgroup2 lab "$1" && find "$1/$2" -depth -type d -exec rmdir {} +'


class Machine:
    """A booted machine. `root` is its file system, `host` its network."""

    def __init__(self, host: Host, root: Path, pid: int) -> None:
        self.host = host
        self.root = root
        self._pid = pid

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command on it, as root."""
        kinds = ["--mount", "--pid", "--cgroup", "--ipc", "--root"]
        inside = ["env", "-i", "PATH=/opt/k3/bin:/usr/bin:/usr/sbin", "HOME=/root", *argv]
        return self.host.run(["nsenter", "--target", str(self._pid), *kinds, "--", *inside])

    def systemctl(self, *argv: str) -> str:
        done = self.run("systemctl", *argv)
        assert done.returncode == 0, f"{argv}: {done.stderr}{self.logged()}"
        return done.stdout

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What systemd knows about a unit."""
        lines = self.systemctl("show", unit, f"--property={','.join(names)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def logged(self) -> str:
        """What the units wrote."""
        log = Path(f"/proc/{self._pid}/root/run/lab.log")
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def write(self, place: str, text: str, *, mode: int = 0o600) -> None:
        file = self.root / place.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)


@contextmanager
def booted(host: Host, image: Image, root: Path) -> Iterator[Machine]:
    """Lay out a file system below `root`, and start systemd in it."""
    _lay_out(image, root)
    branch = f"k3-lab-{uuid4().hex[:12]}"
    mounts = {source: place for source, place in images.system_mounts().items() if source != "/etc"}
    mounts |= {f"{image.root}/{name}": f"/{name}" for name in ("base", "opt/k3")}
    settings = {"SYSTEM": " ".join(f"{a}:{b}" for a, b in mounts.items()), "BRANCH": branch, "INIT": INIT}
    process = host.start(["unshare", "--mount", "sh", "-c", _BOOT, "lab", str(root)], env=settings)
    try:
        pid = until(lambda: _init_of(process), what="process 1")
        machine = Machine(host, root, pid)
        until(lambda: machine.run("systemctl", "is-active", "lab.target").returncode == 0, what="systemd up")
        yield machine
    finally:
        host.namespace.kill_all()
        process.wait()
        remove = ["unshare", "--mount", "sh", "-c", _REMOVE, "lab", str(root / "tmp"), branch]
        until(lambda: subprocess.run(remove, capture_output=True, check=False).returncode == 0, what=f"end of {branch}")


def _init_of(process: Process) -> int:
    """The child that has become systemd; 0 while there is none."""
    assert process.running, process.text
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it is gone, or just going
            if Path(f"/proc/{pid}/comm").read_text(encoding="ascii") == "systemd\n":
                return int(pid)
    return 0


def _lay_out(image: Image, root: Path) -> None:
    images.empty(root)
    shutil.rmtree(root / "base")
    for place in (UNITS, "sys", "run", "base", "opt/k3", "var/log"):
        (root / place).mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        (root / name).write_text(text, encoding="ascii")
    for target in _TARGETS:
        (root / UNITS / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n", encoding="ascii")
    for unit in (ROOT / "deploy" / "systemd").glob("*.service"):
        shutil.copy(unit, root / UNITS)
