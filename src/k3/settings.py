"""Where settings come from: flag > environment > file > default.

Reads the environment it is handed and the one configuration file; opens no store and writes nothing.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from k3 import parsing
from k3.config import (
    LOG_FORMATS,
    LOG_LEVELS,
    EtcdStorage,
    LogSettings,
    MemoryStorage,
    MysqlStorage,
    Note,
    Settings,
    SqliteStorage,
    Storage,
)
from k3.parsing import TEXT, Fields
from k3.store_settings import StorageSection, StoreUrl, read_section, read_url, storage

SYSTEM_STATE: Final = Path("/var/lib/k3")
DATABASE: Final = "k3.db"
_LEVEL: Final = parsing.choice(*LOG_LEVELS, "warn")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs, as far as defaults depend on it."""

    environ: Mapping[str, str]
    is_root: bool
    system_state: Path = SYSTEM_STATE

    @property
    def state_directory(self) -> Path:
        """Where this user's k3 keeps what must survive a restart; not made here."""
        if self.is_root:
            return self.system_state
        state = self.environ.get("XDG_STATE_HOME", "")
        if not state.startswith("/"):  # the XDG base directory specification: a relative one is to be ignored
            home = self.environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path's own raises where there is none
            state = os.path.join("/", home, ".local/state")  # noqa: PTH118 - a home that is none leads to a clear refusal
        return Path(state) / "k3"

    def default_database(self, *, reading: bool) -> Path:
        """The store nobody named: this user's. One who only reads, and has none, looks at the machine's, where there is one."""
        own, shared = self.state_directory / DATABASE, self.system_state / DATABASE
        return shared if reading and not is_there(own) and is_there(shared) else own


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said, word for word; None: nothing."""

    config: str | None = None
    store: str | None = None
    log_level: str | None = None
    log_format: str | None = None


def here() -> Place:
    """Where this process runs."""
    return Place(os.environ, os.geteuid() == 0)


def is_there(path: Path) -> bool:
    """Whether a file exists, or might: one we may not look at is left to whoever opens it, to say so."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def load(flags: Flags, place: Place, *, reading: bool, log_level: str = "info") -> Settings:
    """All a command needs to start. `reading`: it only looks at a store. Raises ConfigInvalid."""
    path = flags.config or place.environ.get("CONFIG_PATH", "")
    document = parsing.read_yaml(Path(path)) if path else {}
    section = read_section(document.get("storage"), f"{path}: storage")
    log, notes = _log(document, flags, path=path, level=log_level)
    url, where = _named_store(flags, place)
    if url is not None and url.has_password:
        advice = "it shows in process lists: use K3_STORE_PASSWORD or the configuration file"
        notes = (*notes, Note("config.password_in_url", {"where": where, "advice": advice}, warning=True))
    found = _storage(section, url, place, where=where or path, reading=reading)
    return Settings(found, is_default_store=url is None and not section.type, log=log, notes=notes)


def _named_store(flags: Flags, place: Place) -> tuple[StoreUrl | None, str]:
    if flags.store is not None:
        return read_url(flags.store, "--store"), "--store"
    if text := place.environ.get("K3_STORE", ""):
        return read_url(text, "K3_STORE"), "K3_STORE"
    return None, ""


def _storage(section: StorageSection, url: StoreUrl | None, place: Place, *, where: str, reading: bool) -> Storage:
    """The URL's settings over the file's of the same type; the password from the environment unless the URL has one."""
    backend = url.type if url else section.type or "sqlite"
    settings = {**section.of(backend), **(url.settings if url else {})}
    password = place.environ.get("K3_STORE_PASSWORD", "")
    if password and backend in {"mysql", "etcd"} and not (url and url.has_password):
        settings["password"] = password
    return storage(backend, settings, default_path=place.default_database(reading=reading), where=where)


def _log(document: Mapping[str, Any], flags: Flags, *, path: str, level: str) -> tuple[LogSettings, tuple[Note, ...]]:
    """How to log, and which sections of the file mean nothing to k3."""
    section = parsing.mapping(document.get("log"), f"{path}: log")
    fields: Fields = {"level": _LEVEL, "format": parsing.choice(*LOG_FORMATS), "path": TEXT}
    found = parsing.read_fields({key: section[key] for key in fields if key in section}, fields, f"{path}: log")
    if document.get("debug") is True:
        found["level"] = "debug"
    given = {"level": flags.log_level, "format": flags.log_format}
    found = {"level": level, **found, **{key: value for key, value in given.items() if value}}
    log = LogSettings(**found)
    log = replace(log, level="warning") if log.level == "warn" else log
    others = [key for key in document if key not in {"storage", "log", "debug"}]
    others += [f"log.{key}" for key in section if key not in fields]
    return log, (Note("config.ignored", {"file": path, "sections": tuple(others)}),) if others else ()


def describe(found: Storage) -> str:
    """A store as its URL, without any password: for people, before it is open."""
    match found:
        case MemoryStorage():
            return "memory://"
        case SqliteStorage(path=path):
            return f"sqlite://{path}"
        case MysqlStorage():
            host = f"[{found.host}]" if ":" in found.host else found.host
            return f"mysql://{found.user}@{host}:{found.port}/{found.database}"
        case EtcdStorage():
            return "etcd://" + ",".join(endpoint.partition("://")[2] for endpoint in found.endpoints)
