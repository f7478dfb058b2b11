"""Where settings come from: flag > environment > file > default.

Reads the environment it is handed and the one configuration file; opens no store and writes nothing.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.core.safe_text import one_line
from k3.settings import backends, options, parsing
from k3.settings import file as config_file
from k3.settings.file import Document
from k3.settings.parsing import TEXT, Fields
from k3.settings.storage import StorageSection, StoreUrl, read_section, read_url
from k3.settings.structs import (
    LOG_FORMATS,
    LOG_LEVELS,
    Given,
    LogSettings,
    Note,
    Reader,
    Settings,
    Storage,
)

SYSTEM_STATE: Final = Path("/var/lib/k3")
DATABASE: Final = "k3.db"
DEFAULT_TYPE: Final = "sqlite"
SECTIONS: Final = ("storage", "log", *options.SECTIONS)
SECRETS: Final = {"password": "K3_STORE_PASSWORD", "token": "K3_STORE_TOKEN"}
"""What of a store's settings an environment variable may say: in a URL it would show in process lists."""
_LOG: Final[Fields] = {
    "level": parsing.choice(*LOG_LEVELS, also={"warn": "warning"}),
    "format": parsing.choice(*LOG_FORMATS),
    "path": TEXT,
}
_ALIKE: Final = 0.75
"""From which likeness on an unknown section is taken for a misspelt one of k3's (`storag`: 0.92; `role`, `web`: below 0.5)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs, as far as defaults depend on it."""

    environ: Mapping[str, str]
    is_root: bool
    system_state: Path = SYSTEM_STATE

    @property
    def state_directory(self) -> Path:
        """Returns where this user's k3 keeps what must survive a restart; not made here."""
        if self.is_root:
            return self.system_state
        state = self.environ.get("XDG_STATE_HOME", "")
        if not state.startswith("/"):  # the XDG base directory specification: a relative one is to be ignored
            home = self.environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path's own raises where there is none
            state = os.path.join("/", home, ".local/state")  # noqa: PTH118 - a home that is none leads to a clear refusal
        return Path(state) / "k3"

    def default_database(self, *, reading: bool) -> Path:
        """Returns the store where none is named: this user's; for a reader who has none, the machine's, if there is one."""
        own, shared = self.state_directory / DATABASE, self.system_state / DATABASE
        return shared if reading and not is_there(own) and is_there(shared) else own


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says, word for word; None: nothing."""

    config: str | None = None
    store: str | None = None
    log_level: str | None = None
    log_format: str | None = None


def here() -> Place:
    """Returns where this process runs."""
    return Place(os.environ, os.geteuid() == 0)


def is_there(path: Path) -> bool:
    """Whether a file exists or might: of one that this user may not look at, the opening tells."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def load(flags: Flags, place: Place, *, reading: bool, log_level: str = "info") -> Settings:
    """Returns all a command needs to start. `reading`: it only looks at a store. Raises ConfigInvalid."""
    path = flags.config or place.environ.get("CONFIG_PATH", "")
    document = config_file.read(Path(path)) if path else Document()
    ignored = _others(document)
    section = read_section(document.values("storage"), f"{path}: storage")
    log, more = _log(document, flags, level=log_level)
    notes = [Note("config.ignored", {"file": path, "sections": (*ignored, *more)})] if ignored or more else []
    url, where = _named_store(flags, place)
    if url is not None and url.has_password:
        advice = "it shows in process lists: use K3_STORE_PASSWORD or the configuration file"
        notes.append(Note("config.password_in_url", {"where": where, "advice": advice}, warning=True))
    found = _storage(section, url, place, where=where or path, reading=reading)
    return Settings(
        storage=found,
        is_default_store=url is None and not section.type,
        log=log,
        notes=tuple(notes),
        reader=_reader(found, path, url, place, text=flags.store or place.environ.get("K3_STORE", "")),
        sections=_module_sections(document),
    )


def _others(document: Document) -> tuple[str, ...]:
    """Returns the sections of other programs. Raises ConfigInvalid for what is meant for k3 and misspelt or misplaced."""
    others = tuple(name for name in document.nodes if name not in {*SECTIONS, "debug"})
    for name in others:
        if owner := next((each for each in ("storage", *options.SECTIONS) if name in _keys_of_its_own(each)), None):
            msg = f"{document.at(name)}: is a key of the section {owner}; write it below {owner}:, indented"
            raise ConfigInvalid(msg)
        if meant := parsing.alike(name.lower(), (*SECTIONS, "debug"), cutoff=_ALIKE):
            msg = f'{document.at(name)}: unknown section; did you mean "{meant}"?'
            raise ConfigInvalid(msg)
    return others


def _keys_of_its_own(section: str) -> set[str]:
    """Returns keys that no other program is likely to have at the top of its file."""
    if section == "storage":
        return {type_ for type_ in backends.types() if backends.load(type_).FIELDS}
    return {option.name for option in options.SECTIONS[section] if "-" in option.name}


def _module_sections(document: Document) -> dict[str, Mapping[str, Given]]:
    """Returns what the file says to `k3 network` and `k3 discovery`. Raises ConfigInvalid for an unknown key."""
    return {
        name: options.read_section(document.texts(name), name, document.file) for name in options.SECTIONS if name in document
    }


def _reader(found: Storage, path: str, url: StoreUrl | None, place: Place, *, text: str) -> Reader:
    """Returns what another process of this user needs to be told."""
    words = ["--config", str(Path(path).absolute())] if path else []
    if url is not None:
        words += ["--store", found.url if url.has_password else text]
    fields = backends.load(found.type).FIELDS
    given = [name for key, name in SECRETS.items() if key in fields and place.environ.get(name)]
    told = ["K3_STORE_PASSWORD"] if url is not None and url.has_password else given
    return Reader(
        flags="".join(f" {one_line(shlex.quote(word))}" for word in words),
        environ="".join(f"{name}=... " for name in told) if found.has_password else "",
        is_alone=found.is_private,
    )


def _named_store(flags: Flags, place: Place) -> tuple[StoreUrl | None, str]:
    if flags.store is not None:
        return read_url(flags.store, "--store"), "--store"
    if text := place.environ.get("K3_STORE", ""):
        return read_url(text, "K3_STORE"), "K3_STORE"
    return None, ""


def _storage(section: StorageSection, url: StoreUrl | None, place: Place, *, where: str, reading: bool) -> Storage:
    """Returns the URL's settings over the file's of the same type; secrets from the environment unless the URL has them."""
    type_ = url.type if url else section.type or DEFAULT_TYPE
    backend = backends.load(type_)
    settings = {**section.of(type_), **(url.settings if url else {})}
    for key, name in SECRETS.items():
        if key in backend.FIELDS and (secret := place.environ.get(name, "")) and not (url and key in url.settings):
            settings[key] = secret
    return backend.storage(settings, default_path=place.default_database(reading=reading), where=where)


def _log(document: Document, flags: Flags, *, level: str) -> tuple[LogSettings, tuple[str, ...]]:
    """Returns how to log, and which keys of the file's section k3 does not use."""
    section = parsing.mapping(document.values("log"), f"{document.file}: log")
    others = tuple(key for key in section if key not in _LOG)
    for key in others:
        if meant := parsing.alike(key.lower(), _LOG, cutoff=_ALIKE):
            msg = f'{section.name_of(key)}: unknown key; did you mean "{meant}"?'
            raise ConfigInvalid(msg)
    found: dict[str, Any] = {}
    for key, value in section.items():
        if key in _LOG and value is not None:
            found[key] = parsing.read_field(_LOG[key], value, section.name_of(key))
    debug = document.values("debug")
    if debug is not None and parsing.read_field(parsing.FLAG, debug, document.at("debug")):
        found["level"] = "debug"
    for key, text in (("level", flags.log_level), ("format", flags.log_format)):
        if text is not None:
            found[key] = parsing.read_field(_LOG[key], text, f"--log-{key}")
    return LogSettings(**{"level": level, **found}), tuple(f"log.{key}" for key in others)
