"""Whether a database file may lie where it is asked for: a directory that is there, writable and of this machine."""

import os
import re
import stat
from pathlib import Path
from typing import Final

from k3.core.errors import Forbidden, StartFailed
from k3.settings.load import is_there

REMOTE: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "gpfs", "ocfs2", "gfs2", "afs"),
        *("beegfs", "orangefs", "pvfs2", "davfs", "vboxsf", "prl_fs", "ncpfs", "coda"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"),
        *("fuse.goofys", "fuse.mfs", "fuse.davfs2", "fuse.curlftpfs", "fuse.juicefs"),
    }
)
"""File systems, as /proc/self/mountinfo names them, whose locks or shared memory do not reach every machine that writes."""

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
"""A blank, tab, newline or backslash in a mount point, as octal digits (proc(5))."""

DIRECTORY_MODES: Final = {True: 0o755, False: 0o700}
"""The mode of a directory that k3 makes, by whether root makes it (ADR 22)."""

_ELSEWHERE: Final = "choose another place with --store sqlite:///PATH"


def prepare(path: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
    """Makes the directory of `path` and checks that a database may lie there. Raises StartFailed, Forbidden.

    Root's directory (0755) is for all to read: it holds the list of this machine. Another user's (0700) is that user's alone.
    """
    try:
        path.parent.mkdir(mode=DIRECTORY_MODES[os.geteuid() == 0], parents=True, exist_ok=True)
    except PermissionError as error:
        msg = f"cannot make {path.parent}: {_said(error)}; run as its owner, or {_ELSEWHERE}"
        raise Forbidden(msg) from error
    except OSError as error:
        msg = f"cannot make {path.parent}: {_said(error)}; {_ELSEWHERE}"
        raise StartFailed(msg) from error
    _check_is_file(path)
    _check_local(path, mountinfo)
    for needed in (path, path.parent):
        if is_there(needed) and not os.access(needed, os.R_OK | os.W_OK):
            raise Forbidden(not_writable(path))


def only_readable(path: Path) -> bool:
    """Whether this user may read the database at `path`, but not write it. Raises Forbidden where not even that."""
    _check_is_file(path)
    if not os.access(path, os.R_OK):
        if is_there(path):
            raise Forbidden(_not_readable(path))
        return False
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def not_writable(path: Path) -> str:
    """Returns what a person is told who may not write there."""
    if _is_read_only(path):
        return f"{path} cannot be written: its file system is read-only; remount it, or {_ELSEWHERE}"
    return f"{path} cannot be written by this user (SQLite needs its directory too): run it as {_owner(path)}, or {_ELSEWHERE}"


def _is_read_only(path: Path) -> bool:
    """Whether the file system would refuse even root."""
    try:
        return bool(os.statvfs(path if path.exists() else path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _not_readable(path: Path) -> str:
    owner = _owner(path)
    return (
        f"{path} is for {owner} alone: run the command as {owner}, or let everybody read the list with"
        f" chmod 755 {path.parent} and chmod 644 {path}, or {_ELSEWHERE}"
    )


def _owner(path: Path) -> str:
    """Returns whose the file is, as far as that can be seen."""
    for place in (path, *path.parents):
        try:
            return f"{place.owner()} (sudo)" if place.owner() == "root" else place.owner()
        except OSError:
            continue
        except KeyError:
            break
    return "its owner"


def no_file(path: Path) -> str:
    """Returns what a person is told where something else than a file is at `path`; empty: a file is, or nothing."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as a link's target, whoever made it
    except OSError:
        return ""  # the opening tells
    if stat.S_ISDIR(mode):
        return f"{path} is a directory; name a file in it, as in --store sqlite://{path}/k3.db"
    return "" if stat.S_ISREG(mode) else f"{path} is no file, but a pipe, a socket or a device; {_ELSEWHERE}"


def _check_is_file(path: Path) -> None:
    if why := no_file(path):
        raise StartFailed(why)


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def file_system(path: Path, mounts: str) -> str:
    """Returns the type of the file system that `path` (absolute, resolved) lies on, by mountinfo's text; empty if unknown."""
    best, found = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = path.is_relative_to(point)
        if inside and len(point) >= len(best):  # of two on one point the later hides the earlier
            best, found = point, fields[fields.index("-", 6) + 1]
    return found


def _check_local(path: Path, mountinfo: Path) -> None:
    try:
        mounts = mountinfo.read_text(errors="replace")
    except OSError:
        return  # not Linux, or no /proc: it cannot be known
    found = file_system(path.parent.resolve(), mounts)
    if found in REMOTE:
        msg = (
            f"{path} lies on a network file system ({found}), where SQLite loses data: "
            "use a local path, or storage type mysql or etcd for several machines"
        )
        raise StartFailed(msg)
