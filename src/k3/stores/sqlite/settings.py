"""What a person may set of a SQLite store: its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.settings.parsing import TEXT, Fields

TYPE: Final = "sqlite"
EXAMPLE: Final = "sqlite:///path"
ALIASES: Final[tuple[str, ...]] = ("sqlite3", "file")
FIELDS: Final[Fields] = {"path": TEXT}
PACKAGES: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class SqliteStorage:
    """`storage.type: sqlite`: one file, several processes of one machine. See `settings.structs.Storage`."""

    path: Path

    type = TYPE
    is_private = False
    has_password = False

    @property
    def url(self) -> str:
        """The URL that opens the same file."""
        return f"sqlite://{self.path}"

    @property
    def file(self) -> Path:
        """The file."""
        return self.path


def from_url(rest: str, where: str) -> dict[str, Any]:
    """Returns the path: all that follows `sqlite://`, as it is, since a file may have any name. Raises ConfigInvalid."""
    if not rest.startswith("/") or rest.endswith("/"):
        msg = f"{where}: a sqlite:// URL needs three slashes and the absolute path of a file, as in sqlite:///var/lib/k3/k3.db"
        raise ConfigInvalid(msg)
    return {"path": rest}


def storage(settings: Mapping[str, Any], *, default_path: Path, where: str) -> SqliteStorage:
    """Returns the file that is named, else the default one. Raises ConfigInvalid where it is in the home of nobody."""
    try:
        return SqliteStorage(_absolute(settings["path"]) if settings.get("path") else default_path)
    except RuntimeError:
        msg = f"{where}: the path of the SQLite store begins with ~ and a name that no user has; write the whole path"
        raise ConfigInvalid(msg) from None


def _absolute(path: str) -> Path:
    """Returns the path with one slash in front: POSIX lets `//x` mean something else, and SQLite takes it for a host."""
    absolute = str(Path(path).expanduser().absolute())
    return Path(f"/{absolute.lstrip('/')}")
