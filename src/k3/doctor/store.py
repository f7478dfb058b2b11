"""Whether the store can be used from here: reached, read and written, with room for more.

Writes one Lease and deletes it again.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from k3.agent import host_names
from k3.agent.local import LocalAgent
from k3.agent.tasks import time_limit
from k3.core import freshness, limits, node
from k3.core.addresses import is_loopback
from k3.core.errors import Damaged, Forbidden, K3Error, StartFailed, Unavailable
from k3.core.node import NodeView
from k3.core.objects import NODE
from k3.core.records import dataclass
from k3.core.safe_text import one_line
from k3.core.sources import NETWORK
from k3.core.store import Page
from k3.doctor import disk
from k3.doctor.disk import KEPT_IN
from k3.doctor.finding import (
    LOOK_UP_SHARE,
    Finding,
    Severity,
    Subject,
    look_up_commands,
    note,
    ok,
    problem,
    sentence,
    unfinished,
    warning,
)
from k3.doctor.machine import Case
from k3.settings.load import is_there
from k3.settings.structs import Storage
from k3.stores import connect
from k3.stores.check import Telling, write_refusal
from k3.view.cells import human_duration

_KINDS: Final[Mapping[type[Exception], str]] = {
    Forbidden: "The store refuses this user",
    Unavailable: "The store does not answer, or takes no writes",
    Damaged: "The store is damaged",
    StartFailed: "The store cannot be opened here",
}
_UNITS: Final = {"etcd": "etcd", "mysql": "mariadb"}
_COMMANDS: Final = re.compile(r"`((?:etcdctl|kubectl) [^`]+)`")
_CHMOD: Final = re.compile(r"(chmod \d+ \S+) and (chmod \d+ [^\s,]+)")
_LAST: Final = re.compile(r": ((?:etcdctl|kubectl|k3|GRANT|CREATE|ALTER) .+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSeen:
    """What was found at the store. `id` and `nodes` are empty where it could not be read."""

    findings: tuple[Finding, ...]
    id: str = ""
    nodes: tuple[NodeView, ...] = ()
    is_missing: bool = False
    """There is no store there yet."""


async def look(case: Case, *, seconds: float) -> StoreSeen:
    """Looks at the store for so long. Raises for nothing that a store does."""
    storage = case.network.storage
    room: tuple[Finding, ...] = ()
    if storage.file is not None:
        # In a thread: a file system of the network that hangs would stand the whole process still.
        room = await asyncio.to_thread(lambda file: tuple(disk.room(file)), storage.file)
        if not await asyncio.to_thread(is_there, storage.file):
            return StoreSeen(findings=(*room, _not_made_yet(case)), is_missing=True)
    if storage.is_private:
        return StoreSeen(
            findings=(note(Subject.STORE, "The store is in the memory of one process: no other one can read it."),)
        )
    async with asyncio.TaskGroup() as tasks:
        nameless = tasks.create_task(_unknown(storage, seconds=seconds * LOOK_UP_SHARE))
        try:
            async with time_limit(seconds):
                seen = await _looked_at(case)
        except TimeoutError:
            # A file is not silent: its disk, or this machine, is busy.
            told = unfinished(Subject.STORE) if storage.file is not None else _silent(case, await nameless, seconds)
            return StoreSeen(findings=(*room, told))
        except K3Error as raised:
            return StoreSeen(findings=_causes(room, _failed(case, raised)))
        finally:
            nameless.cancel()
    return replace(seen, findings=_causes(room, *seen.findings))


def _hosts(storage: Storage) -> list[str]:
    """Returns the hosts that a store's URL names; an etcd cluster's has several, with commas between them."""
    if storage.file is not None:
        return []
    places = urlsplit(storage.url).netloc.rpartition("@")[2].split(",")
    with suppress(ValueError):
        return [host for each in places if (host := urlsplit(f"//{each}").hostname)]
    return []


async def _unknown(storage: Storage, *, seconds: float) -> tuple[str, str]:
    """Returns a host of which none of the store's has an address, and why; empty texts where one has."""
    hosts = _hosts(storage)
    found = await asyncio.gather(*(host_names.unknown(host, seconds=seconds) for host in hosts))
    return (hosts[0], found[0]) if found and all(found) else ("", "")


def _silent(case: Case, nameless: tuple[str, str], seconds: float) -> Finding:
    """Returns what is to be said of a store that gave no answer: its name has no address, or it is silent."""
    (host, why), url = nameless, one_line(case.network.storage.url)
    if not why:
        return _failed(case, Unavailable(f"{url} does not answer within {seconds:.1f} s"))
    what = f"The store {url} cannot be looked for: {why}."
    do = "Correct its URL, or see why the name is not found:"
    return problem(Subject.STORE, what, why=KEPT_IN, do=do, commands=look_up_commands(host))


def _causes(room: Sequence[Finding], *findings: Finding) -> tuple[Finding, ...]:
    """Returns all of it; a write that fails on a full disk is no cause of its own."""
    is_full = any(each.severity is Severity.PROBLEM for each in room)
    return (*room, *(each for each in findings if not (is_full and each.what.startswith(_KINDS[Unavailable]))))


async def _looked_at(case: Case) -> StoreSeen:
    store = await connect(case.network.storage, reading=True)
    try:
        # A few machines tell what is wrong; all of a large store would take long.
        page = await store.list(NODE, limit=limits.LIST_PAGE)
        nodes = tuple(node.view(item) for item in page.objects if not item.unreadable)
        try:
            refusal = await write_refusal(store, f"k3-doctor-{uuid4()}")
        except K3Error as error:  # it may be read, and takes no write
            return StoreSeen(findings=(_failed(case, error),), id=store.id, nodes=nodes)
        facts = await store.facts() if isinstance(store, Telling) else {}
        told = [*_unreadable(case, page), _writing(case, refusal, facts.get("server", ""))]
        return StoreSeen(findings=tuple(told), id=store.id, nodes=nodes)
    finally:
        await store.aclose()


def _unreadable(case: Case, page: Page) -> Iterable[Finding]:
    for item in page.objects:
        if item.unreadable:
            what = f"{item.key} in the store cannot be read: {one_line(item.unreadable)}."
            commands = (case.reader.command(f"delete node {quote(item.key.name)}"),)
            yield warning(
                Subject.STORE, what, why="It is left out of every list.", do="Repair it, or remove it:", commands=commands
            )


def _writing(case: Case, refusal: str, server: str) -> Finding:
    storage = case.network.storage
    where = one_line(storage.url)
    if not refusal:
        return ok(Subject.STORE, f"{where} can be read and written{f', {server}' if server else ''}")
    if storage.file is not None and os.geteuid() != 0:
        return note(Subject.STORE, f"{where} can be read by this user, and is written by its owner, {_owner(storage.file)}.")
    return _failed(case, Forbidden(refusal))


def _failed(case: Case, error: Exception) -> Finding:
    storage = case.network.storage
    said = one_line(str(error))
    kind = next((text for type_, text in _KINDS.items() if isinstance(error, type_)), "The store cannot be used")
    last = _LAST.findall(said)  # SQL among them, where names stand between such quotation marks as commands do elsewhere
    found = [*last, *(() if last else _COMMANDS.findall(said)), *(" && ".join(each) for each in _CHMOD.findall(said))]
    for command in found:
        said = said.replace(f": {command}", "")
    cause, do = _halves(said)
    do = do.removesuffix(" run.") + " run:" if do.endswith(" run.") else do or "Correct that, and try again:"
    commands = dict.fromkeys([*found, *_for_type(storage, error), case.reader.command("store check")])
    return problem(Subject.STORE, sentence(f"{kind}: {cause}"), why=KEPT_IN, do=do, commands=commands)


def _halves(said: str) -> tuple[str, str]:
    """Returns the cause and what to do, as k3's errors have them: `cause; do`, or `cause (details): do`."""
    cause, separator, do = said.partition("; ")
    if not separator:
        cause, separator, do = said.partition("): ")
        cause += ")" if separator else ""
    do = do.rstrip(".")
    return cause, sentence(f"{do[:1].upper()}{do[1:]}") if do else ""


def _owner(file: Path) -> str:
    try:
        return file.owner()
    except (OSError, KeyError):
        return "another user"


def _for_file(file: Path, error: Exception) -> str:
    path, place = quote(str(file)), quote(str(file.parent))
    if "read-only" in str(error):
        return f"mount -o remount,rw $(findmnt -n -o TARGET --target {place})"
    if "damaged" in str(error) or isinstance(error, Damaged):
        return _move_away(file)
    if isinstance(error, Forbidden):
        return f"ls -ld {place} {path}"
    return f"df -h {place}" if isinstance(error, Unavailable) else ""


def _move_away(file: Path) -> str:
    """Returns what moves a database with its log, which SQLite would else play into the new one (sqlite.org/wal.html)."""
    away, name, log = quote(f"{file}.damaged"), quote(file.name), quote(f"{file.name}-*")
    found = f"find {quote(str(file.parent))} -maxdepth 1 -type f \\( -name {name} -o -name {log} \\)"
    return f"mkdir -p {away} && {found} -exec mv -t {away} {{}} +"


def _for_type(storage: Storage, error: Exception) -> Sequence[str]:
    """Returns commands for a store of this type: what starts it where it is on this machine, and what looks at it."""
    if storage.file is not None:
        return tuple(filter(None, (_for_file(storage.file, error),)))
    if isinstance(error, Forbidden):
        return ("kubectl auth can-i --list -n kube-system",) if storage.type == "kubernetes" else ()
    place = urlsplit(storage.url)
    with suppress(ValueError):  # a port that is none, or several endpoints
        host, port = place.hostname or "localhost", place.port
        looks = {
            "etcd": f"etcdctl --endpoints={host}:{port or 2379} endpoint health",
            "mysql": f"mysqladmin --host={host} --port={port or 3306} ping",
            "kubernetes": "kubectl cluster-info",
        }
        is_here = is_loopback(host) and storage.type in _UNITS
        restarts = (f"systemctl restart {_UNITS[storage.type]}",) if is_here else ()
        return (*restarts, *((looks[storage.type],) if storage.type in looks else ()))
    return ()


def _not_made_yet(case: Case) -> Finding:
    file = case.network.storage.file or Path()
    place = next((each for each in file.parents if each.exists()), Path("/"))
    if os.access(place, os.W_OK):
        what = f"There is no store at {file} yet: k3 makes it when it starts."
        return note(Subject.STORE, what, do="Start it:", commands=(case.reader.command(NETWORK.name),))
    what = f"There is no store at {file}, and this user may not make one in {place}."
    return problem(
        Subject.STORE, what, why=KEPT_IN, do="Run k3 as the owner of that directory:", commands=(f"ls -ld {quote(str(place))}",)
    )


def agreement(case: Case, seen: StoreSeen, agent: LocalAgent) -> Iterable[Finding]:
    """Gives whether the agent that runs here uses this store, and whether it gets its writes into it."""
    info = agent.info
    is_known = seen.id or seen.is_missing
    if info is None or not info.store_id or not is_known:
        return
    if info.store_id != seen.id:
        what = f"The agent of k3 on this machine uses another store than {one_line(case.network.storage.url)}, looked at here."
        yield note(Subject.STORE, what, do="Give the same one: k3 doctor --store URL.")
        return
    if any(each.severity is Severity.PROBLEM for each in seen.findings):
        return  # it follows from that
    silent = freshness.unwritten_seconds(seen.nodes, datetime.now(UTC), ())
    if silent and abs(agent.ahead_seconds) <= freshness.SKEW_SECONDS:
        span = human_duration(timedelta(seconds=round(silent)))
        what = f"k3 runs here, and no Node was refreshed in the store for {span}."
        yield problem(
            Subject.STORE,
            what,
            why=KEPT_IN,
            do="Look whether the user it runs as may write there:",
            commands=("journalctl -u k3",),
        )
