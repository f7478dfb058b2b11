"""One running agent: sockets, timers and the store around the `PeerTable`.

Everything happens on one loop: whatever arrives is handed to the table at once, and what the table asks for is started
at once. This module decides nothing about any peer.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from k3 import __version__
from k3.agent import facts
from k3.agent.cache import Cache, Listed, Lost
from k3.agent.facts import Identity
from k3.agent.refusals import EXHAUSTED, Trouble, descriptors_for
from k3.agent.tasks import time_limit
from k3.core import limits, node
from k3.core.errors import NotFound, StartFailed, Unavailable
from k3.core.node import NodeView
from k3.core.objects import NODE, Key, Object
from k3.core.observation import Facts, Left
from k3.core.ownership import foreign_reason, was_overwritten
from k3.core.store import Store
from k3.network import link_changes, naming
from k3.network.announce import Announcer, instance_name
from k3.network.browse import Browser
from k3.network.clones import Clones
from k3.network.events import (
    Action,
    CloneFound,
    Contested,
    Event,
    LinksChanged,
    NameKept,
    NodeGone,
    NodeShown,
    Probed,
    Reannounce,
    Report,
    SelfProven,
    Settings,
    Stalled,
    StartProbe,
    StoreLost,
    Suspecting,
    Synced,
    Tick,
)
from k3.network.links import Links
from k3.network.lookout import Lookout
from k3.network.mdns import Mdns
from k3.network.messages import Announcement, Answered, Endpoint, LocalFault, Outcome, Target, Withdrawal
from k3.network.naming import Claim
from k3.network.peers import PeerTable
from k3.network.peers.peer import NEVER
from k3.network.probe import probe
from k3.network.whereabouts import Whereabouts
from k3.settings.service_type import ServiceType

BEAT_SECONDS: Final = 0.5
LISTEN_SECONDS: Final = 0.3
SELF_PROBE_SECONDS: Final = 2.0
SELF_RETRY_SECONDS: Final = 1.0
CONTEST_SECONDS: Final = 0.25
CONTEST_SECONDS_MAX: Final = 15.0
OVERWRITTEN: Final = (
    "another program replaces whole Nodes and drops what k3 keeps there: "
    "stop the one that k3 replaces, on every machine where it still runs"
)

log = logging.getLogger(__name__)


class NameLost(Exception):
    """Another live machine keeps our name: start again under `second`. Never leaves the daemon.

    `former`: the id that was ours too, and is left to a clone; what it wrote under a name that is not the clone's is ours.
    """

    def __init__(self, second: str, *, held_at: str = "", former: str = "") -> None:
        super().__init__(second)
        self.second = second
        self.held_at = held_at
        self.former = former


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `k3 network` was told, as far as the agent goes."""

    service: ServiceType
    name: str
    explicit: bool
    peer_ttl_seconds: float
    register_self: bool
    forget_after_seconds: float
    interfaces: tuple[str, ...]
    conflict_with: str = ""
    """The name it ran under until another live machine turned out to keep that."""
    former: str = ""
    """The id it ran under until a clone of this machine turned out to have it too."""


class Agent:
    """The agent of this machine, for one run under one name. `facts` is what it says of itself at any moment."""

    def __init__(
        self,
        options: Options,
        store: Store,
        cache: Cache,
        *,
        submit: Callable[[Report, datetime], object],
        disown: Callable[[str, str], None],
    ) -> None:
        """Both return at once: `submit` hands a report to the reconciler, `disown` says once why a Node is not ours."""
        self._options = options
        self._store = store
        self._cache = cache
        self._submit = submit
        self._disown = disown
        self.where = Whereabouts()
        self._claim = Claim(options.name)
        self._table: PeerTable | None = None
        self._announcer: Announcer | None = None
        self._browser: Browser | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._gate = asyncio.Semaphore(descriptors_for(limits.PROBES_AT_ONCE))
        self._changed = asyncio.Event()
        self._contested: set[str] = set()
        self._state_dir = Path()
        self._identity = Identity("")
        self._clones = Clones(has_parted=bool(options.former), tell=self._tell_clone, part=self._part_ways, start=self._start)
        self._is_overwritten = False
        self.lookout = Lookout(lambda: self.facts.port, opened=self._speak_again, clock=asyncio.get_running_loop().time)
        self._trouble = Trouble(log, "probes.refused", "nobody is asked, and nothing is concluded from that")
        self._listed = asyncio.Event()
        self._leaving = False
        self._started_at = self._beat_at = asyncio.get_running_loop().time()
        self.named = asyncio.Event()
        """Set once it is settled which name `facts` gives."""
        self.joined = asyncio.Event()
        """Set when the store shows this machine's own Node of this run, or another one's that k3 leaves alone."""
        self.facts = Facts(node=options.name, boot=facts.boot_id(), pid=os.getpid(), version=__version__)

    @property
    def _links(self) -> Links:
        return self.where.links

    @property
    def links(self) -> Links:
        """The links it is on."""
        return self._links

    @property
    def uptime_seconds(self) -> float:
        """Since this run began."""
        return asyncio.get_running_loop().time() - self._started_at

    def prepare(self, state_dir: Path) -> None:
        """Learn who and where this machine is. Raises Invalid, StartFailed."""
        self.where.links = link_changes.read(self._options.interfaces)
        self._state_dir = state_dir
        self._identity = facts.identity(state_dir, tuple(each.name for each in self._links.interfaces))
        self._clones.advice = facts.new_identity_advice(state_dir)
        hostname = facts.hostname()
        self.facts = replace(
            self.facts,
            addresses=self._links.addresses,
            links=self._links.prefixes,
            id=self._identity.id,
            clone_of=self._identity.clone_of,
            hostname=hostname if node.valid_name(hostname) else "",
            os="linux",
            arch=facts.architecture(),
            peer_ttl_seconds=self._options.peer_ttl_seconds,
            system=facts.system(state_dir),
        )

    async def run(self, port: int) -> None:
        """Find, announce, probe, for ever. Raises NameTaken, NameLost (in a group), StartFailed.

        `port` is where this machine's health server answers.
        """
        self.facts = replace(self.facts, port=port)
        mdns = await Mdns.open(self._links)
        try:
            self._announcer = Announcer(mdns, self._options.service)
            self._browser = browser = Browser(mdns, self._options.service)
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(browser.run())
                tasks.create_task(mdns.run())
                browser.ours = instance_name(self._options.name, self.facts.id)
                heard = await self._settle_name(browser)
                browser.ours = instance_name(self.facts.node, self.facts.id)
                self._begin(tasks, mdns, browser, heard)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._browser is not None:
                self._browser.close()
            await mdns.aclose()

    def _begin(self, tasks: asyncio.TaskGroup, mdns: Mdns, browser: Browser, heard: list[Announcement | Withdrawal]) -> None:
        settings = Settings(
            name=self.facts.node,
            id=self.facts.id,
            peer_ttl_seconds=self._options.peer_ttl_seconds,
            register_self=self._options.register_self,
            forget_after_seconds=self._options.forget_after_seconds,
            boot=self.facts.boot,
            conflict_with=self._claim.conflict_with,
        )
        now = asyncio.get_running_loop().time()
        self._table = PeerTable(settings, chance=Random().random, now=now)  # noqa: S311 - spreads probes, guards nothing
        if self._claim.displaces or self._options.former:
            self._handle(NameKept(self._claim.displaces or self._options.former))
        if self._clones.found:
            self._handle(CloneFound(next(iter(self._clones.found.values())), self._clones.advice))
        self._handle(_usable(self._links))
        self.where.cover(self._links.twins)
        self.lookout.relinked(self._links)
        if not self._links.interfaces:
            log.warning("network.no_interface", extra={"fields": {"advice": "waiting for one that is up and does multicast"}})
        tasks.create_task(self._follow_store())
        tasks.create_task(self._follow_network(browser, heard))
        tasks.create_task(self._follow_links(mdns, browser))
        tasks.create_task(self._prove_self())
        tasks.create_task(self.lookout.run())
        tasks.create_task(self._beat())
        self._announce()

    # ── whose name it is ────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle_name(self, browser: Browser) -> list[Announcement | Withdrawal]:
        """Listen a moment and ask the store, before anybody hears from us. Returns what was heard."""
        messages: list[Announcement | Withdrawal] = []
        wanted = self._options.name
        holders = []
        stored = await self._stored(wanted)
        if stored is not None and stored.id == self.facts.id:
            self.where.begin_with(stored.addresses)
            self.facts = replace(self.facts, addresses=self.where.addresses)
        on_link = [a for a in stored.addresses if self._links.on_link(a)] if stored else []
        recorded = naming.recorded_holder(stored, self.facts.id, on_link)
        if recorded is not None and recorded.id != self._options.former:
            holders.append(recorded)
        with suppress(TimeoutError):
            async with time_limit(LISTEN_SECONDS):
                while True:
                    messages.append(await browser.next())
        said = [heard for heard in messages if isinstance(heard, Announcement)]
        await self._make_way(said)
        holders += [
            naming.announced_holder(heard) for heard in said if heard.node == wanted and heard.id not in {"", self.facts.id}
        ]
        self._claim = await naming.settle(
            wanted, self.facts.id, holders[:8], explicit=self._options.explicit, goes_on=self._goes_on
        )
        if self._options.conflict_with:
            self._claim = replace(self._claim, conflict_with=self._options.conflict_with)
        if self._claim.name != wanted:
            fields = {"wanted": wanted, "using": self._claim.name, "held": self._claim.held_at, "advice": naming.ADVICE}
            log.warning("name.taken", extra={"fields": fields})
        self.facts = replace(self.facts, node=self._claim.name)
        self._clones.say(self.facts)
        self.named.set()
        return messages

    async def _goes_on(self, holder: NodeView) -> bool:
        """Whether the store shows that a machine which could not be asked lives: its Node is refreshed, or its run changes."""
        patience = naming.patience_seconds(holder, self._options.peer_ttl_seconds)
        fields = {
            "wanted": holder.name,
            "held": holder.addresses,
            "why": "its holder does not answer here",
            "seconds": patience,
        }
        log.warning("name.waiting", extra={"fields": fields})
        with suppress(TimeoutError):
            async with time_limit(patience):
                while True:
                    await asyncio.sleep(naming.LOOK_SECONDS)
                    seen = await self._stored(holder.name)
                    if seen is None or seen.id != holder.id or not (seen.is_ready and seen.is_reachable):
                        return False
                    if (seen.last_seen, seen.agent) != (holder.last_seen, holder.agent):
                        return True
        return False

    async def _make_way(self, heard: list[Announcement]) -> None:
        """Nobody knows this machine yet in this run: if another one runs with its id, this is the one to change."""
        self._clones.say(self.facts)
        for target in [target for each in heard if (target := self._clones.elsewhere(each)) is not None][
            : limits.PEER_ADDRESSES
        ]:
            if (answer := await self._clones.ask(target)) is not None:
                self._clones.tell_of(answer)
                former = self._identity.id
                try:
                    self._change_identity()
                except OSError as error:
                    msg = f"cannot keep this machine's identity in {self._state_dir}: {error.strerror}; make it writable"
                    raise StartFailed(msg) from error
                if answer.facts.node != self._options.name:
                    self._options = replace(self._options, former=former)
                return

    def _change_identity(self) -> None:
        """Raises OSError."""
        self._clones.has_parted = True
        self._identity = facts.part_ways(self._state_dir, self._identity)
        self.facts = replace(self.facts, id=self._identity.id, clone_of=self._identity.clone_of)
        self._clones.say(self.facts)

    def _tell_clone(self, address: str) -> None:
        self._handle(CloneFound(address, self._clones.advice))
        if self._announcer is not None:
            self._announcer.again()  # the clone's announcements have taken the place of ours

    def _part_ways(self, other: str) -> None:
        """A clone of that name has our id too, and this is the one to change: once in a run."""
        former, mine = self._identity.id, self.facts.node
        try:
            self._change_identity()
        except OSError as error:
            advice = f"make {self._state_dir} writable and restart k3"
            log.warning("identity.not_kept", extra={"fields": {"error": str(error), "advice": advice}})
            return
        log.warning("identity.changed", extra={"fields": {"node": mine, "former": former, "id": self._identity.id}})
        self._leaving = True  # what arrives while this run ends finds nobody who could begin anything
        second = naming.second_name(mine, self._identity.id) if other == mine else mine
        raise NameLost(second, held_at="by a clone", former=former)

    async def _stored(self, name: str) -> NodeView | None:
        with suppress(NotFound, Unavailable):
            return node.view(await self._store.get(Key(NODE, name)))
        return None

    async def _contest(self, target: Target) -> None:
        """Somebody else uses our name while we run: ask until one of the two has let go of it."""
        pause_seconds = CONTEST_SECONDS
        life = self._sign_of_life(target)
        changed_at = self._started_at + self.uptime_seconds
        while True:
            outcome = await probe(target, timeout_seconds=SELF_PROBE_SECONDS)
            if isinstance(outcome, Answered) and outcome.facts.id == self.facts.id:
                # A forged announcement led us to ourselves.
                self._contested.discard(target.id)
                return
            if isinstance(outcome, Answered):
                self._stand_or_give_way(outcome, is_news=pause_seconds == CONTEST_SECONDS)
            elif not isinstance(outcome, LocalFault) or not any(target.groups):
                # A namesake that is only out of our sight goes on writing to the store.
                now = asyncio.get_running_loop().time()
                if life != (life := self._sign_of_life(target)):
                    changed_at = now
                if not life or now - changed_at >= self._options.peer_ttl_seconds:
                    break
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, CONTEST_SECONDS_MAX)
        self._handle(NameKept(target.id))
        await asyncio.sleep(SELF_RETRY_SECONDS)
        self._contested.discard(target.id)

    def _sign_of_life(self, target: Target) -> str:
        """What the store last showed of another machine under our name; empty: nothing, or that it is not Ready."""
        item = self._cache.objects.get(Key(NODE, self.facts.node))
        seen = node.view(item) if item is not None else None
        return f"{seen.agent} {seen.last_seen}" if seen and seen.id == target.id and seen.is_ready and seen.agent else ""

    def _stand_or_give_way(self, other: Answered, *, is_news: bool) -> None:
        where = f"at {other.endpoint.address} port {other.endpoint.port}"
        if not self._gives_way(other):
            if is_news:
                fields = {"node": self.facts.node, "other": other.endpoint.address, "advice": naming.ADVICE}
                log.warning("name.contested", extra={"fields": fields})
        elif self._options.explicit:
            self._leaving = True
            raise naming.taken(self.facts.node, other.facts.id, where)
        else:
            self._leaving = True
            raise NameLost(naming.second_name(self.facts.node, self.facts.id), held_at=where)

    def _gives_way(self, other: Answered) -> bool:
        """On one store its Node says who keeps the name, and until there is one nobody knows; else whoever is up for longer."""
        if other.store_id and other.store_id == self._store.id:
            item = self._cache.objects.get(Key(NODE, self.facts.node))
            if item is None:
                return False
            if keeper := node.view(item).id:
                return keeper == other.facts.id
        return naming.gives_way((self.uptime_seconds, self.facts.id), (other.uptime_seconds, other.facts.id))

    # ── what arrives ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_store(self) -> None:
        async with aclosing(self._cache.follow()) as notices:
            async for notice in notices:
                match notice:
                    case Listed():
                        nodes = tuple(self._seen(item) for item in self._cache.objects.values())
                        for seen in nodes:
                            self._compare(seen)
                        self._handle(Synced(nodes))
                        self._listed.set()
                    case Lost():
                        self._handle(StoreLost())
                    case _ if notice.type == "DELETED":
                        self._handle(NodeGone(notice.object.key.name))
                    case _:
                        seen = self._seen(notice.object)
                        self._compare(seen)
                        self._handle(NodeShown(seen))
                self._look_for_self()

    def _seen(self, item: Object, *, is_here: bool = False) -> NodeView:
        """A Node as the table may see it: what a controller has taken over is not ours, whatever its labels say.

        `is_here`: its machine is known to be on this network, or is this one.
        """
        manifest = item.manifest()
        seen = node.view_manifest(item.key.name, manifest)
        why = foreign_reason(manifest, seen, "network")
        if not why:
            return seen
        if is_here or seen.owner == "network" or (self._table is not None and seen.name in self._table.peers):
            self._disown(seen.name, why)
        is_discovery_s = seen.owner == "discovery" and not foreign_reason(manifest, seen, "discovery")
        return seen if is_discovery_s else replace(seen, owner=None)

    def _compare(self, seen: NodeView) -> None:
        """Does another machine write with our id? Of what the table was shown last, this is what the store shows now."""
        if seen.owner == "network" and self._table is not None:
            former = self._table.shown(seen.name)
            on_link = tuple(address for address in seen.addresses if self._links.on_link(address))
            self._clones.shown(seen, former, joined=self.joined.is_set(), on_link=on_link)
            if former is not None and was_overwritten(former, seen) and not self._is_overwritten:
                self._is_overwritten = True
                log.warning("node.overwritten", extra={"fields": {"node": seen.name, "advice": OVERWRITTEN}})

    def _look_for_self(self) -> None:
        item = self._cache.objects.get(Key(NODE, self.facts.node))
        if item is not None and not self.joined.is_set():
            seen = self._seen(item, is_here=True)
            if seen.agent == self.facts.boot or seen.owner != "network":
                self.joined.set()

    async def _follow_network(self, browser: Browser, before: list[Announcement | Withdrawal]) -> None:
        """Nothing heard is of use before the store has said what it knows: until then the browser keeps it."""
        await self._listed.wait()
        for early in before:
            if isinstance(early, Announcement):
                self.lookout.heard(early)
            self._handle(early)
        self.lookout.listen()
        while True:
            heard = await browser.next()
            if isinstance(heard, Announcement) and (item := self._cache.objects.get(Key(NODE, heard.node))) is not None:
                self._seen(item, is_here=True)
            if isinstance(heard, Announcement):
                self._clones.heard(heard)
                self.lookout.heard(heard)
                if not heard.addresses and heard.node == self.facts.node:
                    continue  # a namesake on a link that is gone: it can be asked when the link is back
            self._handle(heard)

    async def _follow_links(self, mdns: Mdns, browser: Browser) -> None:
        async with aclosing(link_changes.changes(self._links, only=self._options.interfaces)) as changes:
            async for links in changes:
                self.where.move(links)
                if links.interfaces:
                    # Without any, where it was last is all there is to say: a cable may be out as well as an interface down.
                    self.facts = replace(self.facts, addresses=self.where.addresses, links=links.prefixes)
                    self._clones.say(self.facts)
                self._announce()
                await mdns.update(links)
                browser.relinked()
                self.lookout.relinked(links)
                self._handle(_usable(links))

    def met(self, local: str, remote: str) -> None:
        """A connection from `remote` has arrived at `local`, an address of this machine."""
        if not self.where.met(local, remote):
            return
        self.lookout.visited()
        if self.where.addresses != self.facts.addresses:
            self.facts = replace(self.facts, addresses=self.where.addresses)
            self._changed.set()

    def _speak_again(self) -> None:
        """What was said and asked while nothing got through is to be said and asked again."""
        if self._announcer is not None and self._browser is not None:
            self._announcer.again()
            self._browser.relinked()

    async def _prove_self(self) -> None:
        """Ask ourselves, where others would, whenever what we say has changed."""
        told = False
        while True:
            self._changed.clear()
            if isinstance(outcome := await self._ask_self(), Answered):
                told = False
                self._handle(SelfProven(self.facts))
                await self._changed.wait()
                continue
            if not told:
                told = True
                fields = {"port": self.facts.port, "addresses": self.facts.addresses, "outcome": type(outcome).__name__}
                log.warning(
                    "self.unproven", extra={"fields": {**fields, "advice": "do --listen and the firewall let others in?"}}
                )
            with suppress(TimeoutError):
                async with time_limit(SELF_RETRY_SECONDS):
                    await self._changed.wait()

    async def _ask_self(self) -> Outcome:
        known = self._links.addresses or ("127.0.0.1",)
        ends = tuple(Endpoint(self._links.scoped(address), self.facts.port) for address in known)
        return await probe(Target(self.facts.node, (ends,), self.facts.id), timeout_seconds=SELF_PROBE_SECONDS)

    async def _beat(self) -> None:
        """A loop that stands still notices by this that it did."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._notice_stall(loop.time())

    def _notice_stall(self, now: float) -> None:
        stood = now - self._beat_at - BEAT_SECONDS
        self._beat_at = now
        if stood > 1.0 and self._table is not None:
            log.warning("agent.stalled", extra={"fields": {"seconds": round(stood, 1)}})
            self._perform(self._table.handle(Stalled(stood), now))

    # ── through the table ───────────────────────────────────────────────────────────────────────────────────────────

    def _handle(self, event: Event) -> None:
        table, loop = self._table, asyncio.get_running_loop()
        if table is None or self._leaving:
            return
        now = loop.time()
        if now - self._beat_at > BEAT_SECONDS + 1.0:
            self._notice_stall(now)
        self._perform(table.handle(event, now))
        if self._timer is not None:
            self._timer.cancel()
        at = table.deadline
        self._timer = loop.call_at(at, self._handle, Tick()) if at < NEVER else None

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case StartProbe():
                    self._start(self._probe(action))
                case Report():
                    self._submit(action, datetime.now(UTC))
                case Suspecting(name, where):
                    log.info("peer.suspected", extra={"fields": {"node": name, "where": where}})
                case Reannounce():
                    if self._announcer is not None:
                        self._announcer.again()
                case Contested(target) if target.id not in self._contested and len(self._contested) < limits.PEER_ADDRESSES:
                    self._contested.add(target.id)
                    self._start(self._contest(target))
                case _:
                    pass

    def _start(self, work: Coroutine[None, None, None]) -> None:
        if self._tasks is not None:
            self._tasks.create_task(work)

    async def _probe(self, wanted: StartProbe) -> None:
        outcome: Outcome
        try:
            async with self._gate:
                outcome = await probe(wanted.target, timeout_seconds=wanted.timeout_seconds, via=self._links.detour)
        except OSError as error:
            outcome = LocalFault(errno.errorcode.get(error.errno or 0, str(error)), passes=error.errno in EXHAUSTED)
        self._clones.answered(outcome)
        self._note_fault(outcome)
        self.lookout.probed(wanted.target, outcome)
        self._handle(Probed(wanted.target.name, outcome))

    def _note_fault(self, outcome: Outcome) -> None:
        """Without descriptors or memory nobody can be asked: that is said once, and held against nobody."""
        if isinstance(outcome, LocalFault) and outcome.passes:
            number = getattr(errno, outcome.why)
            self._trouble.begins(OSError(number, os.strerror(number)))
        elif not isinstance(outcome, LocalFault):
            self._trouble.ends()

    def _announce(self) -> None:
        self._changed.set()
        if self._announcer is not None and not self._leaving:
            self._announcer.announce(self.facts)

    def leave(self) -> Left | None:
        """Stop handling anything; returns what to tell the store."""
        self._leaving = True
        item = self._cache.objects.get(Key(NODE, self.facts.node))
        if item is None or not self._options.register_self:
            return None
        return Left(self.facts.node, node.view(item).evidence, by_itself=True, boot=self.facts.boot)

    async def say_goodbye(self) -> None:
        """Tell the network that we are going."""
        if self._announcer is not None:
            await self._announcer.aclose()


def _usable(links: Links) -> LinksChanged:
    """The links with a carrier, where there is only link-local IPv6, that."""
    up = Links(tuple(each for each in links.interfaces if each.running))
    names = tuple(each.name for each in up.interfaces if each.addresses)
    only_local = not up.prefixes and up.running
    return LinksChanged(("fe80::/64",) if only_local else up.prefixes, names)
