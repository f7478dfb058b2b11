"""Which kinds of store there are: modules that describe themselves, found by their entry points, loaded when asked for.

A backend is a module behind an entry point of the group `k3.stores`, whose name is the type that people write. Nothing else
has a list of backends: a package installed beside k3 adds one as those that come with k3 do. Loading a backend's module must
stay cheap: it brings its driver only in `open_store`.

k3's own backends have the names of their types too (`k3.stores.sqlite`), so that a process that uses one of them need not read
entry points, which costs 30 ms and 1 MB.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from k3.core.errors import ConfigInvalid
from k3.core.store import Store
from k3.settings import parsing
from k3.settings.parsing import Fields
from k3.settings.structs import Storage

GROUP: Final = "k3.stores"


class Backend(Protocol):
    """The attributes of a backend's module."""

    TYPE: str
    """`storage.type`, and the scheme of its URL."""
    EXAMPLE: str
    """A URL as a person would write it."""
    ALIASES: tuple[str, ...]
    """Other schemes that people write when they mean this one. `SCHEMES`, which few backends have, are some it takes."""
    FIELDS: Fields
    """The keys of its section in the configuration file."""
    PACKAGES: Mapping[str, str]
    """What it needs besides k3: the packages, by the modules that are imported."""

    def from_url(self, rest: str, where: str) -> Mapping[str, Any]:
        """Returns what a URL sets; `rest` is all behind `type://`, or the whole URL where its scheme is one of `SCHEMES`.

        Raises ConfigInvalid, ValueError (host or port).
        """
        ...

    def storage(self, settings: Mapping[str, Any], *, default_path: Path, where: str) -> Storage:
        """Returns the struct made of these settings. `default_path`: the file where none is named. Raises ConfigInvalid."""
        ...

    async def open_store(self, storage: Any, *, reading: bool = False) -> Store:  # noqa: ANN401 - its own struct
        """Opens the store, or makes it; `reading`: one that this user may not write will do, where the backend can tell.

        Raises StartFailed, Forbidden, Unavailable; ModuleNotFoundError where a package of `PACKAGES` is missing.
        """
        ...


@cache
def _entries() -> dict[str, str]:
    """Returns the modules of all backends by type, of k3's and of other packages."""
    from importlib import metadata  # noqa: PLC0415 - see above

    return {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)}


def types() -> tuple[str, ...]:
    """Returns the types there are. Loads none of them."""
    return tuple(sorted(_entries()))


def taken_by(scheme: str) -> tuple[str, bool]:
    """Returns the type that takes URLs of a scheme, and whether the scheme is its name; an empty type: none does."""
    if _module(scheme):
        return scheme, True
    return next((type_ for type_ in types() if scheme in getattr(load(type_), "SCHEMES", ())), ""), False


def _module(type_: str) -> str:
    """Returns where a backend is: k3's own by its name, any other by its entry point; empty: nowhere."""
    own = f"{GROUP}.{type_}"
    if type_.isidentifier() and find_spec(own) is not None and hasattr(importlib.import_module(own), "open_store"):
        return own
    return _entries().get(type_, "")


def load(type_: str) -> Backend:
    """Returns the backend of a type. Raises ConfigInvalid, which names those there are."""
    if not (module := _module(type_)):
        known = ", ".join(types())
        msg = f'k3 has no store "{type_}"; it has {known or "none: is k3 installed?"}{parsing.nearest(type_, types())}'
        raise ConfigInvalid(msg)
    backend: Backend = importlib.import_module(module)
    return backend


def examples() -> str:
    """Returns how the URLs of all backends look, for a person who has written none of them."""
    listed = [load(type_).EXAMPLE for type_ in types()]
    return f"{', '.join(listed[:-1])} or {listed[-1]}"


def meant_by(scheme: str) -> str:
    """Returns the type that people mean who write this; empty: none."""
    return next((type_ for type_ in types() if scheme.lower() in load(type_).ALIASES), "")
