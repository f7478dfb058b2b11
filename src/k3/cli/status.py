"""`k3 status`: the agent of this machine, its store, its server, and what is not as it should be.

The agent is asked at its own port (`/info`, `/metrics`), as any other machine may ask it; what the machines are like is read in
the store. For what is wrong and what to do about it there is `k3 doctor`.
"""

import argparse
import asyncio
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from k3.agent.info import Info
from k3.cli import serving
from k3.cli.flags import Parser, add_options, add_store_flags, values_of
from k3.cli.looking import find_observed, moments
from k3.cli.opening import open_existing, settings_for_reading
from k3.cli.terminal import answer
from k3.core import limits
from k3.core.addresses import authority
from k3.core.errors import K3Error
from k3.core.objects import LEASE, NODE, Object
from k3.core.records import dataclass
from k3.core.safe_text import one_line, printable
from k3.core.sources import DISCOVERY, NETWORK
from k3.core.store import Store
from k3.core.times import parse_timestamp, timestamp
from k3.doctor import disk
from k3.doctor.finding import Finding, Severity
from k3.settings import options
from k3.settings.listen import Listen
from k3.settings.structs import Settings
from k3.view import node_table
from k3.view.cells import human_duration, text_at
from k3.view.findings import copies
from k3.view.node_table import Reading

DOUBTS: Final = 1
NOT_RUNNING: Final = 3
"""Exit codes: the agent runs, and something is not as it should be; none runs."""
NO_STORE: Final = 4
ASK_SECONDS: Final = 2.0
NAMED: Final = 8
"""So many peers are named; the others are counted."""
_LEASES: Final = "k3-discovery-"
_SAMPLE: Final = re.compile(r'(k3_[a-z_]+)(?:\{source="([a-z0-9-]+)"\})? ([0-9.e+-]+)')
_NO_LINKS: Final = "none: no other machine of this LAN can be found"
_EXAMPLES: Final = """\
  k3 status
  k3 status -o json
  k3 status --listen :7950"""


@dataclass(slots=True, kw_only=True)
class Status:
    """What was found. Texts are empty, and numbers 0, where that is not known."""

    is_running: bool = False
    asked_at: str = ""
    holder: str = ""
    """The program that listens at the agent's port, where it does not answer as an agent does: `k3 (pid 12)`."""
    node: str = ""
    version: str = ""
    pid: int = 0
    since: str = ""
    id: str = ""
    addresses: Sequence[str] = ()
    links: Sequence[str] = ()
    sources: Sequence[str] = ()
    store: str = ""
    store_answers: bool = False
    last_write: str = ""
    """When this agent last refreshed a Node, by its own clock."""
    nodes: Mapping[str, int] = field(default_factory=dict)
    """How many Nodes there are of each state."""
    doubted: Sequence[str] = ()
    """The peers that do not answer, and have not been silent for long enough to be called lost."""
    leaders: Mapping[str, str] = field(default_factory=dict)
    """Who holds each Lease of k3 discovery, by the service that it mirrors."""
    leads: bool = False
    page: str = ""
    doubts: list[str] = field(default_factory=list)
    """What is not as it should be, in words."""
    remarks: list[str] = field(default_factory=list)
    """What a person may want to look at, and what proves nothing."""


def parser() -> Parser:
    """Returns the flags of `k3 status`."""
    flags = Parser("status", "The agent of this machine, its store and its server.", examples=_EXAMPLES)
    flags.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how to print it (text)")
    add_options(flags.add_argument_group(NETWORK.name), [each for each in options.NETWORK if each.name == "listen"])
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Prints it. Returns 0 where an agent runs and nothing is wrong."""
    chosen = parser().parse_args(arguments)
    settings = settings_for_reading(chosen)
    found = asyncio.run(_find(chosen, settings))
    answer(json.dumps(_document(found), indent=2) + "\n" if chosen.output == "json" else "".join(_lines(found, settings)))
    if not found.store_answers and found.store:
        return NO_STORE
    return NOT_RUNNING if not found.is_running else DOUBTS if found.doubts else 0


async def _find(chosen: argparse.Namespace, settings: Settings) -> Status:
    said = values_of(chosen, options.NETWORK, settings, os.environ, section=NETWORK.name)
    listen = Listen.parse(said.text("listen"))
    from k3.agent import local  # noqa: PLC0415 - its parser of HTTP is loaded only where an agent is asked

    agent = await local.find(listen, _own_addresses, seconds=ASK_SECONDS)
    status = Status(asked_at=authority(agent.host, agent.port), holder=one_line(agent.holder))
    if agent.info is not None:
        _tell_agent(status, agent.info)
        _tell_figures(status, await _metrics(agent.host, agent.port))
    if not status.sources or NETWORK.name in status.sources:  # Consul is reached without multicast
        _tell_of_interfaces(status, said.texts("interface"))
    status.store = one_line(settings.storage.url)
    if _tell_of_disk(status, settings.storage.file):
        await _look_into_store(status, settings, agent.info)
    chosen.listen = None  # from here on it would be the server's
    status.page = await serving.find(serving.candidates(chosen, settings))
    return status


def _tell_of_interfaces(status: Status, named: Sequence[str]) -> None:
    """Says what `k3 doctor` finds wrong with the interfaces. `named`: those that k3 was told to use."""
    from k3.doctor import surroundings  # noqa: PLC0415 - netlink is loaded only where a status is asked for

    with suppress(OSError):
        network = surroundings.look(named)
        if network.others:  # with none at all, `Links` says so
            _tell(status, surroundings.interfaces(network))


def _tell_of_disk(status: Status, file: Path | None) -> bool:
    """Says what `k3 doctor` finds wrong with the disk that holds a file store. Returns False where the disk does not answer."""
    if file is None:
        return True
    found: list[Finding] = []

    def look() -> None:
        with suppress(OSError):
            found.extend(disk.room(file))

    # A file system of the network may hang for ever: a thread of asyncio's would keep the process.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(ASK_SECONDS)
    if thread.is_alive():
        silent = (
            f"the disk that holds the store has not answered within {ASK_SECONDS:g} s: whether the store is well is not known"
        )
        status.doubts.append(silent)
        return False
    _tell(status, found)
    return True


def _tell(status: Status, found: Iterable[Finding]) -> None:
    wrong = (each for each in found if each.severity in {Severity.PROBLEM, Severity.WARNING})
    status.doubts += [one_line(each.what.removesuffix(".")) for each in wrong]


def _own_addresses() -> tuple[str, ...]:
    from k3.network import link_changes  # noqa: PLC0415 - loaded only where nobody answers on loopback

    return link_changes.look().addresses


async def _metrics(host: str, port: int) -> dict[tuple[str, str], float]:
    """Returns the agent's figures that have no label but `source`, by name and source."""
    from k3.agent import http  # noqa: PLC0415 - the same

    server = http.Server(host=host, port=port)
    try:
        answer = await http.get(server, "/metrics", timeout_seconds=ASK_SECONDS, answer_bytes=limits.STATUS_FIGURES_BYTES)
    except (OSError, http.HttpError):
        return {}
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 §15.3.1
        return {}
    found = (_SAMPLE.fullmatch(line) for line in answer.body.decode("ascii", "replace").splitlines())
    return {(each[1], each[2] or ""): float(each[3]) for each in found if each}


def _tell_agent(status: Status, info: Info) -> None:
    facts = info.facts
    status.is_running = True
    status.node, status.version, status.pid, status.id = facts.node, facts.version, facts.pid, facts.id
    status.addresses, status.links = facts.addresses, facts.links
    status.since = timestamp(datetime.now(UTC) - timedelta(seconds=info.uptime_seconds))
    if facts.clone_of:
        status.doubts.append("another machine has the same machine id and hardware address: one of the two is a clone")


def _tell_figures(status: Status, figures: Mapping[tuple[str, str], float]) -> None:
    status.sources = sorted(source for name, source in figures if name == "k3_source_up" and source)
    status.leads = figures.get(("k3_source_leads", DISCOVERY.name)) == 1
    for source in status.sources:
        if not figures["k3_source_up", source]:
            status.doubts.append(f"{source} does not run: see the agent's log")
        elif not figures.get(("k3_source_joined", source), 1):
            status.doubts.append(f"{source} has not put this machine on the list yet")
    if figures.get(("k3_store_up", "")) == 0:
        silent = timedelta(seconds=figures.get(("k3_store_silent_seconds", ""), 0))
        status.doubts.append(f"the agent's store has not answered it for {human_duration(silent)}")
    elif figures.get(("k3_store_writable", "")) == 0:
        status.doubts.append("the agent's store takes no writes")
    elif lag := figures.get(("k3_store_lag_revisions", "")):
        status.doubts.append(f"the agent's store is {lag:.0f} revisions behind with what it shows the agent")


async def _look_into_store(status: Status, settings: Settings, info: Info | None) -> None:
    try:
        store = await open_existing(settings)
    except K3Error as error:
        status.doubts.append(one_line(str(error)))
        return
    if store is None:
        status.store_answers = True
        return
    try:
        await _read(store, status, info)
        status.store_answers = True
    except K3Error as error:
        status.doubts.append(one_line(str(error)))
    finally:
        await store.aclose()


async def _read(store: Store, status: Status, info: Info | None) -> None:
    page = await store.list(NODE)
    moment = moments(await find_observed(store, page))
    readings = [node_table.read(item.manifest(), moment(item)) for item in page.objects]
    status.nodes = dict(Counter(str(each.state) for each in readings))
    leases = await store.list(LEASE, namespace="kube-system")
    status.leaders = dict(filter(None, map(_leader, leases.objects)))
    if info is None:
        return
    if info.store_id and info.store_id != store.id:
        status.doubts.append(f"the agent writes to another store: {status.store} is not its own")
        return
    _tell_of_nodes(status, info, {item.key.name: each for item, each in zip(page.objects, readings, strict=True)})


def _tell_of_nodes(status: Status, info: Info, readings: Mapping[str, Reading]) -> None:
    """Says what the store knows of this machine and its peers."""
    ours = [each for each in readings.values() if info.facts.boot and each.view.seen_run == info.facts.boot]
    status.last_write = max((each.view.last_seen for each in ours), default="")
    status.doubted = sorted(name for name, each in readings.items() if each.view.is_ready and not each.view.is_reachable)
    own = readings.get(status.node)
    views = [replace(each.view, name=name) for name, each in readings.items()]
    for each in copies(replace(own.view, name=status.node), views) if own else ():
        where = each.addresses[0] if each.addresses else "?"
        told = f"{each.name} ({where}) has this machine's id: a copy of it, or this machine under another name"
        if each.is_unproven:  # anybody on the LAN may announce an id (ADR 44)
            status.remarks.append(f"{told}, or something that announces its id: it has never answered")
        else:
            status.doubts.append(told)
    if own is None:
        status.doubts.append(f"{status.node} is not on the list (was it started with --register-self=false?)")
    elif not own.state.is_well:
        told = f": {own.state.message}" if own.state.message else ""
        status.doubts.append(f"{status.node} is {own.state} on the list{told}")


def _leader(item: Object) -> tuple[str, str] | None:
    """Returns the service and the holder of a Lease of k3 discovery; None: it is no such Lease, or no process holds it."""
    holder = text_at(item.manifest(), "spec", "holderIdentity")
    if not (item.key.name.startswith(_LEASES) and holder):
        return None
    return item.key.name.removeprefix(_LEASES), holder


def _document(status: Status) -> dict[str, Any]:
    words = {
        name.split("_")[0] + "".join(each.title() for each in name.split("_")[1:]): value
        for name, value in asdict(status).items()
    }
    return {key: list(value) if isinstance(value, tuple) else value for key, value in words.items()}


def _lines(status: Status, settings: Settings) -> list[str]:
    """Returns what a person reads: a line for each thing that is known."""
    now = datetime.now(UTC)
    rows = [("Agent", _agent(status, settings, now))]
    if status.is_running:
        rows += [
            ("Identity", status.id),
            ("Answers at", ", ".join([status.asked_at, *status.addresses])),
            ("Links", ", ".join(status.links) or _NO_LINKS if NETWORK.name in status.sources else ""),
        ]
    rows += [
        ("Store", _store(status, now)),
        ("Nodes", _nodes(status)),
        ("Doubted", _named(status.doubted)),
        ("Leads", _leads(status)),
        ("Page", f"{status.page}/" if status.page else f"no server runs; start one with: {settings.reader.command('up')}"),
        *(("Not well", doubt) for doubt in status.doubts),
        *(("Besides", remark) for remark in status.remarks),
        ("What to do", f"{settings.reader.command('doctor')} says it" if status.doubts or status.remarks else ""),
    ]
    # Here and nowhere before, so that no text of a store or of an agent reaches the terminal without it.
    return [f"{title + ':':<12}{printable(text, limit=limits.STATUS_LINE_CHARACTERS)}\n" for title, text in rows if text]


def _agent(status: Status, settings: Settings, now: datetime) -> str:
    if not status.is_running and status.holder:
        doctor = settings.reader.command("doctor")
        return f"none answers at {status.asked_at}, where {status.holder} listens; {doctor} says why"
    if not status.is_running:
        return f"none answers at {status.asked_at}; start one with: {settings.reader.command(NETWORK.name)}"
    modules = f", {' and '.join(status.sources)}" if status.sources else ""
    return f"{status.node}, k3 {status.version or '?'}, pid {status.pid}, for {_ago(status.since, now)}{modules}"


def _store(status: Status, now: datetime) -> str:
    state = "answers" if status.store_answers else "does not answer"
    if status.store_answers and not status.nodes and not status.is_running:
        state = "has no Nodes"
    written = f"; this agent last refreshed a Node {_ago(status.last_write, now)} ago" if status.last_write else ""
    return f"{status.store} {state}{written}"


def _nodes(status: Status) -> str:
    """Returns how many there are of each state; nothing where that cannot be known."""
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(status.nodes.items()))
    return states or ("none" if status.store_answers else "")


def _leads(status: Status) -> str:
    """Returns who mirrors Consul, service by service."""
    own = " (this agent)" if status.leads else ""
    return ", ".join(f"{holder}{own} for {service}" for service, holder in sorted(status.leaders.items()))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _ago(stamp: str, now: datetime) -> str:
    at = parse_timestamp(stamp)
    return human_duration(max(now - at, timedelta())) if at else "?"
