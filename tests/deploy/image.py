"""An image without an engine: a directory with what a Dockerfile puts into it, in which commands run as in a container.

The root of such a directory has the machine's /usr and /etc (read-only) and this Python in place of the base image, and
of the project only what was copied in. RUN, ENTRYPOINT and HEALTHCHECK run in it by chroot, in a mount namespace.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.deploy import context, dockerfile
from tests.deploy.dockerfile import Instruction, Stage

PATH: Final = "/base/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
"""/base/bin has the Python that a python image has in /usr/local/bin."""

PYTHON: Final = Path("/python")
"""Where this Python is mounted, if it is not part of /usr: its own place may be a home, which others cannot enter."""

_SYSTEM: Final = ("bin", "sbin", "lib", "lib64")
_BUILD_SECONDS: Final = 300.0

_ENTER: Final = """
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
for pair in $SYSTEM; do
    mount --rbind "${pair%%:*}" "$root${pair#*:}"
    mount -o remount,bind,ro "$root${pair#*:}"
done
mount --rbind /dev "$root/dev"
[ -z "$OWN_PROCESSES" ] || mount -t proc proc "$root/proc"
[ -n "$OWN_PROCESSES" ] || mount --rbind /proc "$root/proc"
for pair in $VOLUMES; do mount --bind "${pair%%:*}" "$root${pair#*:}"; done
[ -z "$READ_ONLY" ] || mount -o remount,bind,ro "$root"
shift
exec chroot "$root" "$@"
"""


@dataclass(slots=True)
class Image:
    """What a Dockerfile made: files below `root`, and how to start it."""

    root: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": PATH, "HOME": "/"})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    exposed: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def command(self, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> list[str]:
        """The command line of a process in it, once inside: as its user, without rights, with its environment alone."""
        uid, _, gid = self.user.partition(":")
        rights = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        variables = [f"{name}={value}" for name, value in {**self.environ, **(environ or {})}.items()]
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", *rights] if uid != "0" else []
        return [*drop, "env", "-i", "-C", self.workdir, *variables, *argv]

    def entering(
        self, argv: Sequence[str], *, mounts: Mapping[Path, str] | None = None, read_only: bool = False, is_first: bool = False
    ) -> list[str]:
        """The command line that runs `argv` in it. `mounts`: files and directories put at places inside.

        `is_first`: as process 1, seeing no others.
        """
        for source, place in (mounts or {}).items():
            _mount_point(source, self.root / place.lstrip("/"))
        settings = {
            "SYSTEM": " ".join(f"{source}:{place}" for source, place in system_mounts().items()),
            "VOLUMES": " ".join(f"{source}:{place}" for source, place in (mounts or {}).items()),
            "READ_ONLY": "yes" if read_only else "",
            "OWN_PROCESSES": "yes" if is_first else "",
        }
        alone = ["--pid", "--fork"] if is_first else []
        variables = [f"{name}={value}" for name, value in settings.items()]
        return ["env", *variables, "unshare", "--mount", *alone, "sh", "-c", _ENTER, "image", str(self.root), *argv]

    def run(self, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
        """Run a command in it to its end; what it printed. Raises AssertionError if it fails."""
        done = subprocess.run(
            self.entering(self.command(argv, environ)),
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(argv)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def new_volume(self, place: str, target: Path) -> Path:
        """A named volume for `place`: it begins as what the image has there, owner and mode included."""
        subprocess.run(["cp", "-a", str(self.root / place.lstrip("/")), str(target)], check=True)
        return target


def empty(root: Path) -> Image:
    """What every image begins with, in place of the base image."""
    for name in ("base/bin", "dev", "proc", "tmp", "root", "var/lib", "opt"):
        (root / name).mkdir(parents=True)
    for name in _SYSTEM:
        if (at := Path("/", name)).is_symlink():
            (root / name).symlink_to(at.readlink())
    for place in system_mounts().values():
        (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    prefix = PYTHON if str(PYTHON) in system_mounts().values() else Path(sys.base_prefix)
    (root / "base/bin/python").symlink_to(prefix / "bin" / f"python3.{sys.version_info.minor}")
    (root / "base/bin/python3").symlink_to("python")
    return Image(root)


def build(file: Path, folder: Path) -> Image:
    """Carry a Dockerfile out below `folder`, on a copy of the project's context; the last stage."""
    context.send(folder / "context")
    images: dict[str, Image] = {}
    for number, stage in enumerate(dockerfile.read(file)):
        images[stage.name or "last"] = image = empty(folder / f"stage{number}")
        _carry_out(stage, image, folder / "context", images)
    return images["last"]


def send_context(image: Image, place: str) -> None:
    """Put the project's files, as a builder is sent them, at a place in an image."""
    context.send(image.root / place.lstrip("/"))


def _carry_out(stage: Stage, image: Image, sent: Path, images: Mapping[str, Image]) -> None:
    for each in stage.instructions:
        match each.keyword:
            case "RUN":
                image.run(["sh", "-c", each.text], pip_settings())
            case "COPY":
                _copy(each, image, images[each.options["from"]].root if "from" in each.options else sent)
            case "ENV":
                image.environ |= each.assignments(image.environ)
            case _:
                _configure(each, image)


def _configure(each: Instruction, image: Image) -> None:
    match each.keyword:
        case "WORKDIR":
            image.workdir = each.text
            _inside(image, each.text).mkdir(parents=True, exist_ok=True)
        case "USER":
            image.user = each.text
        case "VOLUME":
            image.volumes = each.exec_form
        case "EXPOSE":
            image.exposed = each.words
        case "HEALTHCHECK":
            image.healthcheck = each.exec_form
        case "ENTRYPOINT":
            image.entrypoint = each.exec_form


def _copy(each: Instruction, image: Image, source_root: Path) -> None:
    *sources, place = each.words
    target = _inside(image, place)
    for name in sources:
        source = source_root / name.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            continue
        assert place.endswith("/"), f"line {each.line}: a file is copied into a directory, whose name ends in /"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _inside(image: Image, place: str) -> Path:
    return image.root / image.workdir.lstrip("/") / place if not place.startswith("/") else image.root / place.lstrip("/")


def system_mounts() -> dict[str, str]:
    """What stands in for the base image, and where: the machine's system directories, and Python."""
    places = ["/usr", "/etc", *(f"/{name}" for name in _SYSTEM if (at := Path("/", name)).is_dir() and not at.is_symlink())]
    python = {} if Path(sys.base_prefix).is_relative_to("/usr") else {sys.base_prefix: str(PYTHON)}
    return {place: place for place in places} | python


def _mount_point(source: Path, point: Path) -> None:
    if source.is_dir():
        point.mkdir(parents=True, exist_ok=True)
    elif not os.path.lexists(point) and not point.is_relative_to("/etc"):
        point.parent.mkdir(parents=True, exist_ok=True)
        point.touch()


def pip_settings() -> dict[str, str]:
    """How this machine's pip is set up besides /etc/pip.conf, and its way out to the network."""
    names = [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]
    return {name: os.environ[name] for name in names}
