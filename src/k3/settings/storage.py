"""Which store: the `storage` section of the configuration file and the short form `--store URL`.

    storage.type: sqlite        and one section per type        or: --store sqlite:///path

What neither says is the default. Errors never repeat a value of the section or the URL: it may hold a password.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.settings import backends, parsing
from k3.settings.parsing import Fields

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}")


@dataclass(frozen=True, slots=True)
class StorageSection:
    """The `storage` section, checked by its fields: the chosen type (empty: none) and the settings of each."""

    type: str = ""
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def of(self, type_: str) -> Mapping[str, Any]:
        """Returns the settings of one type."""
        return self.backends.get(type_, {})


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A `--store URL`, parsed: the type and what it sets."""

    type: str
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def has_password(self) -> bool:
        """Whether the URL carries a password, where every process list shows it."""
        return "password" in self.settings


def read_section(section: object, where: str) -> StorageSection:
    """Returns the `storage` section of a file. Raises ConfigInvalid for an unknown key or a wrong type anywhere in it."""
    raw = parsing.mapping(section, where)
    if not raw:
        return StorageSection()
    types = backends.types()
    fields: Fields = {"type": parsing.choice(*types), **{name: parsing.Field("a mapping (key: value)", dict) for name in types}}
    read = {name: parsing.read_fields(raw.get(name), backends.load(name).FIELDS, f"{where}.{name}") for name in types}
    found = parsing.read_fields(raw, fields, where)
    if "type" not in found:
        msg = f"{where}.type: missing, expected one of {', '.join(types)}"
        raise ConfigInvalid(msg)
    return StorageSection(found["type"], read)


def read_url(url: str, where: str) -> StoreUrl:
    """Reads a store's URL. `where` names the flag or variable in errors. Raises ConfigInvalid."""
    scheme, separator, rest = url.partition("://")
    type_, is_its_name = backends.taken_by(scheme) if separator else ("", False)
    if not type_:
        msg = f"{where}: {_no_store(scheme) if separator else _no_url(url)}"
        raise ConfigInvalid(msg)
    backend = backends.load(type_)
    try:
        found = backend.from_url(rest if is_its_name else url, where)
    except ValueError:
        msg = f"{where}: bad host or port in the {scheme}:// URL, expected like {backend.EXAMPLE}"
        raise ConfigInvalid(msg) from None
    if any(map(parsing.has_zero, found.values())):
        raise ConfigInvalid(parsing.zero(where))
    return StoreUrl(type_, found)


def _no_store(scheme: str) -> str:
    if not _SCHEME.fullmatch(scheme):
        return f"not a store's URL, expected {backends.examples()}"
    meant = backends.meant_by(scheme)
    known = f'; did you mean "{meant}"?' if meant else parsing.nearest(scheme.lower(), backends.types())
    return f'k3 has no store "{scheme}"; it has {", ".join(backends.types())}{known}'


def _no_url(text: str) -> str:
    """Returns the error for what is no URL. It repeats a file's name, as a URL, and nothing else, which may hold a password."""
    is_file = "@" not in text and (text.startswith(("/", "./", "../", "~/")) or text.endswith((".db", ".sqlite")))
    if not is_file or text.endswith("/"):
        return f"not a store's URL, expected {backends.examples()}"
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - those of Path raise, or look at the disk
    return f"not a store's URL; did you mean sqlite://{printable(path, limit=200)}?"
