"""A source that k3 does not bring: what CONTRIBUTING asks of one, and no more. A machine is what a YAML file lists.

The file says `name: address` or `name: [address, address]`.
"""

import asyncio
import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

from k3.agent.source import Shared, Source
from k3.cli.flags import Parser, add_store_flags
from k3.cli.opening import settings_of
from k3.core import node
from k3.core.decision import (
    Create,
    Decision,
    Keep,
    Update,
    change_between,
    new_node,
    numbered,
    put_machine,
    put_notes,
    registered,
    set_ready,
)
from k3.core.objects import Manifest, copied
from k3.core.observation import Facts
from k3.core.ownership import foreign_reason
from k3.core.sources import SourceRow
from k3.core.times import precise_timestamp
from k3.daemon.running import Run, run_source
from k3.settings.listen import Listen

ROW: Final = SourceRow(
    name="hosts",
    reasons=frozenset({"Listed", "Unlisted"}),
    refresh_seconds=3.0,
    returns="It returns with the next look into the file, while that lists it.",
)
LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Listed:
    """The file lists the machine."""

    name: str
    addresses: tuple[str, ...]
    is_refresh_due: bool


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The file lists it no more."""

    name: str


def decide(current: Manifest | None, seen: Listed | Unlisted, *, now: datetime) -> Decision:
    """The policy: pure, one write or none."""
    if current is None:
        return _create(seen, now) if isinstance(seen, Listed) else Keep("there is no such Node")
    stored = node.view_manifest(seen.name, current)
    if why := foreign_reason(current, stored, ROW.name):
        return Keep(why, foreign=True)
    wanted = copied(current)
    if isinstance(seen, Listed):
        _put(wanted, seen, now)
    else:
        set_ready(wanted, "False", "Unlisted", "the file does not list it any more", now)
    change = change_between(stored, wanted)
    if change is None and not (isinstance(seen, Listed) and seen.is_refresh_due):
        return Keep("it is as the file says")
    return Update(wanted, numbered(wanted, change, ROW) if change else None)


def _create(seen: Listed, now: datetime) -> Create:
    wanted = new_node(ROW)
    _put(wanted, seen, now)
    return Create(wanted, numbered(wanted, registered(seen.name, seen.addresses), ROW))


def _put(wanted: Manifest, seen: Listed, now: datetime) -> None:
    put_machine(wanted, Facts(node=seen.name, addresses=seen.addresses), ROW)
    put_notes(wanted, {"lastSeen": precise_timestamp(now)}, ROW)
    set_ready(wanted, "True", "Listed", "the file lists it", now)


class HostsSource(Source):
    """Looks into the file again and again."""

    row = ROW

    def __init__(self, shared: Shared, file: Path, name: str) -> None:
        super().__init__(shared, Facts(node=name, pid=os.getpid()))
        self._file = file

    def decide(self, current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
        return decide(current, seen, now=now)

    async def run(self, port: int) -> None:
        await self.listed.wait()
        refreshed_at: dict[str, float] = {}
        while True:
            listed = yaml.safe_load(self._file.read_text(encoding="utf-8")) or {}
            at = asyncio.get_running_loop().time()
            for name, found in listed.items():
                is_due = at - refreshed_at.get(name, at) >= ROW.refresh_seconds / 3
                if is_due or name not in refreshed_at:
                    refreshed_at[name] = at
                self.submit(Listed(name, tuple(found) if isinstance(found, list) else (found,), is_due))
            for item in tuple(self.shared.cache.objects.values()):
                seen = node.view(item)
                if seen.owner == ROW.name and seen.name not in listed and seen.is_ready:
                    self.submit(Unlisted(seen.name))
            await asyncio.sleep(LOOK_SECONDS)


def run(arguments: list[str]) -> int:
    """`k3 hosts FILE`."""
    flags = Parser("hosts", "Keep the machines of a file as Nodes.", examples="  k3 hosts hosts.yaml")
    flags.add_argument("file", type=Path, help="what lists them")
    add_store_flags(flags)
    chosen = flags.parse_args(arguments)
    settings = settings_of(chosen, reading=False)

    # One agent per file: its lock has the file's name in it.
    name = f"hosts-{hashlib.sha256(str(chosen.file.resolve()).encode()).hexdigest()[:8]}"

    async def make(shared: Shared, _state_dir: Path) -> HostsSource:
        return HostsSource(shared, chosen.file, name)

    run_of_it = Run(row=ROW, node_name=name, storage=settings.storage, listen=Listen("127.0.0.1", 0), reader=settings.reader)
    return run_source(make, run_of_it)
