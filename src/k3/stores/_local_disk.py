"""Whether a database file may lie where it is asked for: a directory that is there, writable and of this machine."""

import os
import re
from pathlib import Path
from typing import Final

from k3.core.errors import Forbidden, StartFailed

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
"""Blanks and backslashes in a mount point (proc(5))."""

_ELSEWHERE: Final = "choose another place with --store sqlite:///PATH"


def prepare(path: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
    """Make the directory of `path` (0700) and see that a database may lie there. Raises StartFailed, Forbidden."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError as error:
        msg = f"cannot make {path.parent}: {error.strerror}; run as its owner, or {_ELSEWHERE}"
        raise Forbidden(msg) from error
    except OSError as error:
        msg = f"cannot make {path.parent}: {error.strerror}; {_ELSEWHERE}"
        raise StartFailed(msg) from error
    _check_local(path, mountinfo)
    _check_writable(path)


def file_system(path: Path, mounts: str) -> str:
    """The type of the file system that `path` (absolute, resolved) lies on, by the text of mountinfo; empty if unknown."""
    best, found = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = path.is_relative_to(point)
        if inside and len(point) >= len(best):
            best, found = point, fields[fields.index("-", 6) + 1]
    return found


def _check_local(path: Path, mountinfo: Path) -> None:
    try:
        mounts = mountinfo.read_text(errors="replace")
    except OSError:
        return  # not Linux, or no /proc: nobody to ask
    found = file_system(path.parent.resolve(), mounts)
    if found in REMOTE:
        msg = (
            f"{path} lies on a network file system ({found}), where SQLite loses data: "
            "use a local path, or storage type mysql or etcd for several machines"
        )
        raise StartFailed(msg)


def _check_writable(path: Path) -> None:
    if path.is_dir():
        msg = f"{path} is a directory; name a file in it, as in --store sqlite://{path}/k3.db"
        raise StartFailed(msg)
    for needed in (path, path.parent):
        if needed.exists() and not os.access(needed, os.R_OK | os.W_OK):
            msg = (
                f"{needed} cannot be written by this user (SQLite needs file and directory); run as its owner, or {_ELSEWHERE}"
            )
            raise Forbidden(msg)
