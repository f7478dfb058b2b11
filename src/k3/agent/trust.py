"""Whether a path leads where this user means it to, and not where another user of the machine has made it lead.

In a directory where everybody may write, any user can put a link or a file under a name that k3 is about to write to: root's
list or log would go into a file of that user's choice. The kernel refuses this only where it is told to (proc_sys_fs(5):
protected_symlinks, protected_hardlinks, protected_regular) and in sticky directories; k3 holds to the same rules everywhere.
It looks before it opens, so what lies there does not lead it astray. A race can still be lost where there is no sticky bit.
"""

import os
import pwd
import stat
from pathlib import Path
from typing import Final

_LINKS: Final = 40
"""As many as the kernel follows in one path (path_resolution(7))."""


def foreign_link(path: Path) -> str:
    """Returns what a person is told where another user's symbolic link decides where `path` leads; empty: none does."""
    place, left = Path("/"), list(path.absolute().parts)
    links = 0
    while left and links < _LINKS:
        part = left.pop(0)
        place = place.parent if part == ".." else place / part
        if (found := _look(place)) is None:
            return ""
        if not stat.S_ISLNK(found.st_mode):
            continue
        if _is_open_to_all(place.parent) and not _is_trusted(found, place.parent):
            return f"{place} is a symbolic link of {_name(found.st_uid)}, {_WHERE}: name what is meant, or remove the link"
        links += 1
        left = [*_target(place), *left]
        place = place.parent
    return ""


def _target(link: Path) -> tuple[str, ...]:
    """Returns the parts of what a link says; an absolute one begins with `/`, which leads back to the root."""
    try:
        return link.readlink().parts
    except OSError:  # gone meanwhile
        return ()


def foreign_file(path: Path) -> str:
    """Returns what a person is told where a file to write to is another user's, or has a second name; empty: neither."""
    real = Path(os.path.realpath(path))
    if (found := _look(real)) is None or not stat.S_ISREG(found.st_mode) or not _is_open_to_all(real.parent):
        return ""
    if not _is_trusted(found, real.parent):
        return f"{real} is a file of {_name(found.st_uid)}, {_WHERE}: remove it, or name another place"
    if found.st_nlink > 1:
        return f"{real} has another name too (a hard link), {_WHERE}: remove it, or name another place"
    return ""


_WHERE: Final = "in a directory where everybody may write"


def _is_trusted(found: os.stat_result, directory: Path) -> bool:
    """Whether this user, root or the directory's owner made it, who could all do worse."""
    owner = _look(directory)
    return found.st_uid in {os.geteuid(), 0, owner.st_uid if owner else 0}


def _is_open_to_all(directory: Path) -> bool:
    found = _look(directory)
    return found is not None and bool(found.st_mode & stat.S_IWOTH)


def _look(path: Path) -> os.stat_result | None:
    """Returns what is at a path itself; None: nothing that this user may see, so the opening tells."""
    try:
        return path.lstat()
    except (OSError, ValueError):
        return None


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
