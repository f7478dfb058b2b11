"""A kind of store that k3 does not bring: what CONTRIBUTING asks of one, and no more. It keeps Nodes in a folder's file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from k3.core.errors import ConfigInvalid
from k3.core.store import Store
from k3.settings.parsing import TEXT, Fields

TYPE: Final = "toy"
EXAMPLE: Final = "toy:///folder"
ALIASES: Final[tuple[str, ...]] = ("toys",)
FIELDS: Final[Fields] = {"folder": TEXT}
PACKAGES: Final[Mapping[str, str]] = {"k3_toy_driver": "k3-toy-driver"}


@dataclass(frozen=True, slots=True)
class ToyStorage:
    """See `k3.settings.structs.Storage`."""

    folder: Path

    type = TYPE
    is_private = False
    has_password = False

    @property
    def url(self) -> str:
        return f"toy://{self.folder}"

    @property
    def file(self) -> Path:
        return self.folder / "toy.db"


def from_url(rest: str, where: str) -> dict[str, Any]:
    if not rest.startswith("/"):
        msg = f"{where}: a toy:// URL needs a folder, as in {EXAMPLE}"
        raise ConfigInvalid(msg)
    return {"folder": rest}


def storage(settings: Mapping[str, Any], *, default_path: Path, where: str) -> ToyStorage:
    return ToyStorage(Path(settings.get("folder", default_path.parent)))


async def open_store(storage: ToyStorage, *, reading: bool = False) -> Store:
    if (storage.folder / "broken").exists():
        import k3_toy_driver  # type: ignore[import-not-found] # noqa: F401, PLC0415 - there is none
    from k3.stores.sqlite.store import SqliteStore  # noqa: PLC0415 - as a driver would be

    class ToyStore(SqliteStore):
        @property
        def url(self) -> str:
            return storage.url

    store = ToyStore(storage.file, reading=reading)
    await store.open()
    return store
