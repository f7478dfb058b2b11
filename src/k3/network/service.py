"""The source that finds machines on the local network: puts its parts together, and hands what arrives to the `PeerTable`.

Decides nothing about any peer.
"""

import asyncio
import logging
import os
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from k3 import __version__
from k3.agent import facts
from k3.agent.cache import Cache, Listed, Lost, Notice
from k3.agent.health import HealthServer
from k3.agent.source import Shared, Source
from k3.core import node, ownership
from k3.core.decision import Decision
from k3.core.node import NodeView
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.observation import Evidence, Facts, Left, Observation
from k3.core.ownership import foreign_reason, was_overwritten
from k3.core.records import dataclass
from k3.core.sources import NETWORK
from k3.network import link_changes, name_claim, policy, tally
from k3.network.announce import Announcer, instance_name
from k3.network.browse import Browser
from k3.network.clones import Clones
from k3.network.driver import Driver, Hands
from k3.network.events import (
    CloneFound,
    LinksChanged,
    NameKept,
    NodeGone,
    NodeShown,
    StoreLost,
    Synced,
    TableSettings,
)
from k3.network.links import Links
from k3.network.lookout import Lookout
from k3.network.mdns import Mdns
from k3.network.messages import Announcement, Outcome, Target, Withdrawal
from k3.network.name_claim import NameClaim, Wanted
from k3.network.namesakes import Namesakes
from k3.network.own_identity import OwnIdentity
from k3.network.peers import PeerTable
from k3.network.prober import Prober
from k3.network.self_proof import SelfProof
from k3.network.whereabouts import Whereabouts
from k3.settings.structs import NetworkConfig

OVERWRITTEN: Final = (
    "another program replaces whole Nodes and drops what k3 keeps there: "
    "stop the one that k3 replaces, on every machine where it still runs"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run of `k3 network`: what it was told, and under which name it runs."""

    config: NetworkConfig
    name: str
    is_chosen: bool
    """A person chose it: an agent that starts goes by it or ends."""
    has_joined: bool = False
    """An earlier run of this agent was on its list: it does not end any more, whoever has the name."""
    conflict_with: str = ""
    """The name it ran under until another live machine turned out to keep that."""
    former: str = ""
    """The id it ran under until a clone of this machine turned out to have it too."""


class NetworkSource(Source):
    """Finds machines on the local network, for one run under one name."""

    row = NETWORK
    begins_again = False

    def __init__(self, options: Options, shared: Shared) -> None:
        super().__init__(shared, Facts(node=options.name, boot=facts.boot_id(), pid=os.getpid(), version=__version__))
        self._options = options
        self._cache = shared.cache
        self.where = Whereabouts()
        self._announcer: Announcer | None = None
        self._browser: Browser | None = None
        self._namesakes = Namesakes(
            shown=partial(_shown, shared.cache),
            own=lambda: (self.facts.node, self.facts.id),
            registers=options.config.register_self,
            prober=Prober(self.where, counters=shared.counters),
            hand=lambda heard: self._driver.handle(heard),  # noqa: PLW0108 - there is no driver yet
        )
        self._driver = Driver(self._namesakes, shared.faults)
        self._proof = SelfProof(self.where, facts=lambda: self.facts, tell=self._driver.handle)
        self._claim = NameClaim(
            _wanted(options),
            shared.store,
            shown=shared.cache.get,
            joined=lambda: options.has_joined or self.joined.is_set() or not options.config.register_self,
            tell=self._driver.handle,
        )
        self._own = OwnIdentity(has_parted=bool(options.former))
        self.seal = self._own.seal
        self.counts = lambda: tally.counts({}, {}, {})
        self._clones = Clones(
            tell=self._tell_clone, part=self._part_ways, start=self._driver.start, is_sealed=self._own.is_sealed
        )
        self._is_overwritten = False
        self.lookout = Lookout(lambda: self.facts.port, opened=self._speak_again, clock=asyncio.get_running_loop().time)
        self.named = asyncio.Event()
        """Set once it is settled which name `facts` gives."""
        self._has_table = asyncio.Event()

    def decide(self, current: Manifest | None, seen: Observation, *, now: datetime) -> Decision:
        """Decides by `k3.network.policy`."""
        return policy.decide(current, seen, now=now)

    @property
    def links(self) -> Links:
        """The links that the machine is on."""
        return self.where.links

    async def name(self) -> str:
        """Returns the name that the machine goes by, once that is settled."""
        await self.named.wait()
        return self.facts.node

    async def hindrance(self) -> str:
        """Returns what keeps other machines from being found, as lines for a person; empty: nothing that is known."""
        return await self.lookout.hindrance()

    def attend(self, server: HealthServer) -> None:
        """Hears where others arrive: those addresses come first in what this machine says of itself (ADR 25)."""
        server.met = self.met
        server.asked_by = self.lookout.asked_by
        self.where.cover = server.cover

    def prepare(self, state_dir: Path) -> None:
        """Learns who and where this machine is. Raises Invalid, StartFailed."""
        self.where.links = link_changes.read(self._options.config.interfaces)
        self._claim.refused.learn(state_dir)
        self._own.learn(state_dir, tuple(each.name for each in self.links.interfaces))
        self._clones.advice = self._own.advice
        hostname = facts.hostname()
        self.facts = replace(
            self._own.sign(self.facts),
            addresses=self.links.addresses,
            links=self.links.prefixes,
            hostname=hostname if node.valid_name(hostname) else "",
            os="linux",
            arch=facts.architecture(),
            peer_ttl_seconds=self._options.config.peer_ttl_seconds,
            system=facts.system(state_dir),
        )

    async def run(self, port: int) -> None:
        """Finds, announces, probes, for ever. Raises NameTaken, NameLost (in a group), StartFailed.

        `port` is where this machine's health server answers.
        """
        self.facts = replace(self.facts, port=port)
        mdns = await Mdns.open(self.links)
        try:
            self._announcer = Announcer(mdns, self._options.config.service)
            self._browser = browser = Browser(mdns, self._options.config.service)
            async with asyncio.TaskGroup() as tasks:
                self._driver.use(tasks)
                self._driver.keep("browser", browser.run)
                self._driver.keep("mdns", mdns.run)
                browser.own_instance = instance_name(self._options.name, self.facts.id)
                heard = await self._settle_name(browser)
                browser.own_instance = instance_name(self.facts.node, self.facts.id)
                self._begin(mdns, browser, heard)
        finally:
            self._driver.close()
            if self._browser is not None:
                self._browser.close()
            await mdns.aclose()

    def _begin(self, mdns: Mdns, browser: Browser, heard: list[Announcement | Withdrawal]) -> None:
        settings = TableSettings(
            name=self.facts.node,
            id=self.facts.id,
            peer_ttl_seconds=self._options.config.peer_ttl_seconds,
            register_self=self._options.config.register_self,
            forget_after_seconds=self._options.config.forget_after_seconds,
            boot=self.facts.boot,
            conflict_with=self._claim.settled.conflict_with,
        )
        now = asyncio.get_running_loop().time()
        table = PeerTable(settings, chance=Random().random, now=now)  # noqa: S311 - spreads probes, guards nothing
        hands = Hands(
            submit=self.submit,
            announce_again=self._announce_again,
            contest=self._claim.contest,
            on_outcome=self._on_probe_outcome,
        )
        self._driver.begin(table, hands)
        browser.trust(table.is_proven)
        self.counts = lambda: tally.counts(mdns.refused, browser.refused, table.bounds_met)
        self._has_table.set()
        if self._claim.settled.displaces:
            self._driver.handle(NameKept(self._claim.settled.displaces))
        if self._clones.found:
            self._driver.handle(CloneFound(next(iter(self._clones.found.values())), self._clones.advice))
        self._driver.handle(_usable(self.links))
        self.where.cover(self.links.twins)
        self.lookout.relinked(self.links)
        if not self.links.interfaces:
            log.warning("network.no_interface", extra={"fields": {"advice": "waiting for one that is up and does multicast"}})
        self._driver.keep("heard", partial(self._follow_network, browser, heard))
        self._driver.keep("links", partial(self._follow_links, mdns, browser))
        self._driver.keep("proof", self._proof.run)
        self._driver.keep("lookout", self.lookout.run)
        self._announce()

    # ── whose name it is ────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle_name(self, browser: Browser) -> list[Announcement | Withdrawal]:
        """Settles the name before the machine announces itself. Returns what was heard meanwhile."""
        stored = await self._claim.look_up(self.facts.id, self.links.on_link)
        if stored is not None and stored.id == self.facts.id:
            self.where.begin_with(stored.addresses)
            self.facts = replace(self.facts, addresses=self.where.addresses)
        heard = await name_claim.listen(browser.next)
        announced = [each for each in heard if isinstance(each, Announcement)]
        self._clones.say(self.facts)
        # No other machine knows this one in this run yet, so it is the one of two clones to change (ADR 29).
        clone = await self._clones.already_running(announced)
        former = self._own.make_way(self._options.name, clone.facts.node) if clone is not None else ""
        self.facts = self._own.sign(self.facts)
        settled = await self._claim.settle(announced, self.facts.id, former=former)
        self.facts = replace(self.facts, node=settled.name)
        self._clones.say(self.facts)
        self.named.set()
        return heard

    def _tell_clone(self, address: str) -> None:
        self._driver.handle(CloneFound(address, self._clones.advice))
        self._announce_again()  # the clone's announcements have taken the place of this machine's

    def _part_ways(self, clone: str) -> None:
        """Raises NameLost, unless this machine keeps its identity."""
        if (lost := self._own.part_ways(self.facts.node, clone)) is not None:
            self._driver.close()  # what arrives while this run ends finds nobody who could begin anything
            self.facts = self._own.sign(self.facts)
            self._clones.say(self.facts)
            raise lost

    # ── what arrives ────────────────────────────────────────────────────────────────────────────────────────────────

    async def follow(self) -> None:
        """Hands what the store shows to the table, from the whole list on: so not before there is a table."""
        await self._has_table.wait()
        await super().follow()

    def on_notice(self, notice: Notice) -> None:
        """Takes in what the store shows."""
        match notice:
            case Listed(objects):
                nodes = []
                for item in objects:
                    with self.shared.faults.survived("network.listed", node=item.key.name):
                        seen = self._seen(item)
                        self._compare(seen)
                        nodes.append(seen)
                self._driver.handle(Synced(tuple(nodes)))
            case Lost():
                self._driver.handle(StoreLost())
            case _ if notice.type == "DELETED":
                self._driver.handle(NodeGone(notice.object.key.name))
            case _:
                seen = self._seen(notice.object)
                self._compare(seen)
                self._driver.handle(NodeShown(seen))

    def _seen(self, item: Object, *, is_here: bool = False) -> NodeView:
        """Returns a Node as the table may see it: what a controller has taken over is not network's, whatever its labels say.

        `is_here`: its machine is known to be on this network.
        """
        manifest = item.manifest()
        seen = node.view_manifest(item.key.name, manifest)
        why = foreign_reason(manifest, seen, self.row.name)
        if not why:
            return seen
        is_known = seen.name == self.facts.node or (self._driver.table is not None and self._driver.table.knows(seen.name))
        if is_here or is_known or seen.owner == self.row.name:
            self.writer.disown(seen.name, why)
        return ownership.view(item.key.name, manifest)

    def _compare(self, seen: NodeView) -> None:
        """Looks whether another machine writes with this one's id, or a program replaces whole Nodes."""
        self._namesakes.show(seen)
        if seen.owner == self.row.name and (table := self._driver.table) is not None:
            former = table.shown(seen.name)
            on_link = tuple(address for address in seen.addresses if self.links.on_link(address))
            self._clones.shown(seen, former, joined=self.joined.is_set(), on_link=on_link)
            if former is not None and was_overwritten(former, seen) and not self._is_overwritten:
                self._is_overwritten = True
                log.warning("node.overwritten", extra={"fields": {"node": seen.name, "advice": OVERWRITTEN}})

    async def _follow_network(self, browser: Browser, before: list[Announcement | Withdrawal]) -> None:
        """Hands on what is announced, once the store has said which Nodes it has: until then the browser keeps it."""
        await self.listed.wait()
        for early in before:
            if isinstance(early, Announcement):
                self.lookout.heard(early)
            self._namesakes.hear(early)
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
            self._namesakes.hear(heard)

    async def _follow_links(self, mdns: Mdns, browser: Browser) -> None:
        async with aclosing(link_changes.changes(self.links, only=self._options.config.interfaces)) as changes:
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
                self._driver.handle(_usable(links))

    def met(self, local: str, remote: str) -> None:
        """Notes that a connection from `remote` has arrived at `local`, an address of this machine."""
        if not self.where.met(local, remote):
            return
        self.lookout.visited()
        if self.where.addresses != self.facts.addresses:
            self.facts = replace(self.facts, addresses=self.where.addresses)
            self._proof.again()

    def _announce_again(self) -> None:
        if self._announcer is not None:
            self._announcer.again()

    def _speak_again(self) -> None:
        """Says and asks again what was said and asked while nothing got through."""
        if self._announcer is not None and self._browser is not None:
            self._announcer.again()
            self._browser.relinked()

    def _on_probe_outcome(self, target: Target, outcome: Outcome) -> None:
        self._clones.answered(outcome)
        self.lookout.probed(target, outcome)

    def _announce(self) -> None:
        self._proof.again()
        if self._announcer is not None and not self._driver.is_closed:
            self._announcer.announce(self.facts)

    async def stop(self) -> Left | None:
        """Handles nothing any more. Returns what the store is to be told."""
        self._driver.close()
        if not self._options.config.register_self:
            return None
        return Left(self.facts.node, Evidence(), by_itself=True, boot=self.facts.boot)

    async def leave(self) -> None:
        """Says goodbye on the network."""
        if self._announcer is not None:
            await self._announcer.aclose()
        log.info("network.stopped")


def _wanted(options: Options) -> Wanted:
    return Wanted(
        name=options.name,
        is_chosen=options.is_chosen,
        peer_ttl_seconds=options.config.peer_ttl_seconds,
        has_joined=options.has_joined,
        conflict_with=options.conflict_with,
        former=options.former,
    )


def _shown(cache: Cache, name: str) -> NodeView | None:
    """Returns the Node of this name as it was shown last, and as network sees it."""
    item = cache.get(Key(NODE, name))
    return ownership.view(name, item.manifest()) if item is not None else None


def _usable(links: Links) -> LinksChanged:
    """Returns the links with a carrier; where there is only link-local IPv6, that."""
    up = Links(tuple(each for each in links.interfaces if each.running))
    names = tuple(each.name for each in up.interfaces if each.addresses)
    only_local = not up.prefixes and up.running
    return LinksChanged(("fe80::/64",) if only_local else up.prefixes, names)
