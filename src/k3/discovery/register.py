"""Keeps this machine registered in Consul, whatever happens to the agent: looks, and registers again where it is not.

Registered means that the catalog shows the last registration, which bears a mark of its own. A Consul agent restarted without
its data has forgotten everything; one that is cut off from its servers takes a registration that they do not show yet, and one
that the servers refuse ("node name is reserved", after a reinstall) takes it while they go on showing the former one. So the
registrar looks again whenever Consul's agent holds something else, every `CHECK_SECONDS`, and when the mirror misses this
machine. A Consul agent that restarted with its data holds the registration with a check that is critical until it has run:
there it is registered anew, as passing if this machine answers.

Writes this machine's registration and nothing else, and leaves one alone that another machine holds.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any, Final

from k3.agent import http
from k3.agent.backoff import Backoff
from k3.agent.http import HttpError, Server
from k3.agent.tasks import time_limit
from k3.core import times
from k3.core.addresses import authority
from k3.core.errors import K3Error
from k3.core.observation import Facts
from k3.core.records import dataclass
from k3.discovery.catalog import MARK
from k3.discovery.consul import Consul
from k3.discovery.local_agent import Held
from k3.discovery.snapshot import LEAVING

CHECK_SECONDS: Final = 15
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.5
"""The longest pause between attempts: after an outage of Consul's agent the registration is back within two seconds."""
GOODBYE_LOOKS: Final = 10
"""How often the registrar looks whether the catalog shows the goodbye."""
READ_SECONDS: Final = 0.15
"""How long the goodbye is left there for the mirrors to read it as well."""
UNLISTED_SECONDS: Final = 15.0
"""After this time it is logged that the catalog does not show the registration."""
# Consul takes no shorter DeregisterCriticalServiceAfter, and looks for such services every 30 s.
DEREGISTER_FLOOR_SECONDS: Final = 60.0
SELF_PROBE_SECONDS: Final = 2.0
LEAVE_SECONDS: Final = 2.0
MARK_BYTES: Final = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What Consul is told of this machine: not `facts.addresses`, but `address`, where Consul and others reach it."""

    service: str
    service_id: str
    address: str
    port: int
    facts: Facts
    tags: tuple[str, ...] = ()
    register_self: bool = True
    check_interval_seconds: float = 10.0
    check_timeout_seconds: float = 3.0
    deregister_after_seconds: float = 30.0
    mark: str = ""
    """A text that is new with every registration, by which it is known again in the catalog."""
    is_leaving: bool = False
    """Whether this is the goodbye (ADR 24)."""

    @property
    def meta(self) -> dict[str, str]:
        """The specification's `node` and `pid`, and what else k3 wants to know."""
        facts = self.facts
        texts = {
            "node": facts.node,
            "pid": str(facts.pid or ""),
            "id": facts.id,
            "boot": facts.boot,
            "version": facts.version,
            "os": facts.os,
            "arch": facts.arch,
            "register-self": "" if self.register_self else "false",
            MARK: self.mark,
            LEAVING: "true" if self.is_leaving else "",
        }
        return {key: text for key, text in texts.items() if text}

    @property
    def health_url(self) -> str:
        """The URL at which Consul asks whether this machine is well."""
        return f"http://{authority(self.address, self.port)}/healthz"

    def document(self, *, is_proven: bool) -> dict[str, Any]:
        """Returns the registration as the agent takes it. Unproven, it stays critical until Consul's own first check."""
        check = {
            "Name": "k3 /healthz",
            "HTTP": self.health_url,
            "Interval": times.duration(self.check_interval_seconds),
            "Timeout": times.duration(self.check_timeout_seconds),
            "DeregisterCriticalServiceAfter": times.duration(self.deregister_after_seconds),
            **({"Status": "passing"} if is_proven else {}),
        }
        return {
            "Name": self.service,
            "ID": self.service_id,
            "Address": self.address,
            "Port": self.port,
            "Tags": list(self.tags),
            "Meta": self.meta,
            "Check": check,
        }

    def is_held_as(self, held: Held) -> bool:
        """Whether the agent holds exactly this registration."""
        wanted = (self.service, self.address, self.port, self.meta, sorted(self.tags))
        return wanted == (held.service, held.address, held.port, held.meta, sorted(held.tags))

    def is_of_another(self, held: Held) -> bool:
        """Whether the agent holds the ID for another machine: with another identity and another address."""
        other = held.meta.get("id", "")
        is_elsewhere = (held.address, held.port) != (self.address, self.port)
        return bool(other and self.facts.id) and other != self.facts.id and is_elsewhere


async def answers_at(address: str, port: int) -> bool:
    """Whether `/healthz` answers there as Consul will ask it."""
    try:
        answer = await http.get(Server(host=address, port=port), "/healthz", timeout_seconds=SELF_PROBE_SECONDS)
    except (OSError, HttpError):
        return False
    return 200 <= answer.status < 300  # noqa: PLR2004 - what Consul takes for passing


class Registrar:
    """Registers this machine. Level-triggered: every round looks at what is there, and repairs it."""

    def __init__(
        self,
        consul: Consul,
        registration: Registration,
        *,
        proves: Callable[[], Awaitable[bool]],
        random: Random,
        locate: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """`proves` asks this machine's health server as Consul will.

        `locate` finds this machine's address, where that is not known from the start.
        """
        self._consul = consul
        self._registration = registration
        self._proves = proves
        self._locate = locate
        self._random = random
        self._wake = asyncio.Event()
        self._told = ""
        self._hash = ""
        """Of the registration as Consul's agent held it at the last look."""
        self._fresh: tuple[Held | None] | None = None
        """What the agent has answered to the blocking query since, if it has."""
        self._unlisted_since: float | None = None
        self._has_lapsed = False
        """The agent did not answer for a while, and may have restarted."""
        self.holds: bool | None = None
        """Whether Consul's agent holds the registration; None: not known now."""
        self.listed = asyncio.Event()
        """Set while the catalog is known to have shown this machine since the last registration."""

    @property
    def service_id(self) -> str:
        """The service ID under which this machine is registered."""
        return self._registration.service_id

    def nudge(self) -> None:
        """Has the registrar look at once: the mirror misses the registration."""
        self._wake.set()

    async def run(self) -> None:
        """Keeps this machine registered, for ever. What goes wrong is logged once, and tried again."""
        if self._registration.deregister_after_seconds < DEREGISTER_FLOOR_SECONDS:
            asked = times.duration(self._registration.deregister_after_seconds)
            log.info("consul.deregister_floor", extra={"fields": {"asked": asked, "consul_acts_after": "60s to 90s"}})
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=self._random.random)
        while True:
            try:
                is_done = await self._look()
            except K3Error as error:
                self.holds = None
                self._has_lapsed = True
                self._tell("consul.unavailable", str(error))
                is_done = False
            await asyncio.sleep(FIRST_PAUSE_SECONDS)  # even an agent that answers at once is not asked in a hurry
            if is_done:
                backoff.reset()
            await self._rest(self._until_changed() if is_done else asyncio.sleep(backoff.next_seconds()))

    async def _rest(self, end: Coroutine[None, None, None]) -> None:
        """Waits for `end`, or for `nudge`."""
        async with asyncio.TaskGroup() as tasks:
            waits = [tasks.create_task(end), tasks.create_task(self._wait_for_nudge())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        self._wake.clear()

    async def _wait_for_nudge(self) -> None:
        await self._wake.wait()

    async def _until_changed(self) -> None:
        """Waits until the agent may hold something else: it says so, it no longer answers, or it is time to look."""
        if not self._hash:
            await asyncio.sleep(CHECK_SECONDS)
            return
        try:
            self._fresh = (
                await self._consul.agent.own_service(self.service_id, known_hash=self._hash, wait_seconds=CHECK_SECONDS),
            )
        except K3Error:
            self._has_lapsed = True

    async def _own_service(self) -> Held | None:
        """Returns what the agent holds: as the blocking query has just answered, else as it says now."""
        fresh, self._fresh = self._fresh, None
        return fresh[0] if fresh else await self._consul.agent.own_service(self.service_id)

    async def _look(self) -> bool:
        """Makes one round. Returns whether Consul's agent holds the registration and the catalog has shown it."""
        wanted = self._registration
        held = await self._own_service()
        if held is not None and wanted.is_of_another(held):
            self.holds = False
            self._tell("consul.id_taken", "another machine holds this service ID at the agent; choose another --service-id")
            return False
        if held is None or self._has_lapsed or not wanted.is_held_as(held):
            self.holds = held is not None
            await self._register()
            held = await self._consul.agent.own_service(wanted.service_id)
        self._hash = held.content_hash if held is not None else ""
        self.holds = True
        try:
            if not self.listed.is_set() and not await self._is_listed():
                return False
        except K3Error as error:  # Consul's agent holds it, and cannot ask the catalog: nothing to register again for
            self._tell("consul.unavailable", str(error))
            return False
        self._tell("", "")
        return True

    async def _register(self) -> None:
        self.listed.clear()
        self._unlisted_since = None
        if self._locate is not None:
            self._registration = replace(self._registration, address=await self._locate())
        is_proven = await self._proves()
        self._registration = replace(self._registration, mark=secrets.token_hex(MARK_BYTES))
        if is_proven and self.holds:
            # Registered again, a check keeps the status it has: critical, in an agent that restarted (ADR 24).
            await self._consul.agent.forget_check(self.service_id)
        await self._consul.agent.register(self._registration.document(is_proven=is_proven))
        self._has_lapsed = False
        fields = {"service_id": self.service_id, "health": self._registration.health_url}
        log.info("consul.registered", extra={"fields": fields})
        if not is_proven:
            log.warning("self.unproven", extra={"fields": {**fields, "advice": "does the firewall let Consul in?"}})

    async def _is_listed(self) -> bool:
        if await self._consul.catalog.is_listed(self._registration.service, self.service_id, self._registration.mark):
            self._unlisted_since = None
            self.listed.set()
            return True
        now = asyncio.get_running_loop().time()
        if self._unlisted_since is None:
            self._unlisted_since = now
        elif now - self._unlisted_since > UNLISTED_SECONDS:
            self._tell(
                "consul.not_listed",
                "registered with the agent, but the catalog does not show it: may the token read nodes and services? "
                'does the agent\'s log say that the servers refuse it, as "node name is reserved" after a reinstall?',
            )
        return False

    def _tell(self, event: str, why: str) -> None:
        """Logs what is wrong, once; an empty event: nothing is."""
        if event and event != self._told:
            log.warning(event, extra={"fields": {"consul": self._consul.where, "service_id": self.service_id, "why": why}})
        elif self._told and not event:
            log.info("consul.back", extra={"fields": {"consul": self._consul.where}})
        self._told = event

    async def leave(self) -> bool:
        """Takes this machine out of Consul, unless another run has its place by now. Returns whether it is out.

        `run` must have ended.
        """
        try:
            async with time_limit(LEAVE_SECONDS):
                held = await self._consul.agent.own_service(self.service_id)
                if held is not None:
                    if held.meta.get("boot", "") != self._registration.facts.boot:
                        return False
                    await self._say_goodbye()
                    await self._consul.agent.deregister(self.service_id)
        except (K3Error, TimeoutError) as error:
            log.warning("consul.not_deregistered", extra={"fields": {"service_id": self.service_id, "why": str(error)}})
            return False
        self.holds = False
        return True

    async def _say_goodbye(self) -> None:
        """Has the catalog show that this machine leaves: a registration that is only missing may be an agent that restarts."""
        wanted = replace(self._registration, mark=secrets.token_hex(MARK_BYTES), is_leaving=True)
        await self._consul.agent.register(wanted.document(is_proven=False))
        for _ in range(GOODBYE_LOOKS):
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
            if await self._consul.catalog.is_listed(wanted.service, wanted.service_id, wanted.mark):
                await asyncio.sleep(READ_SECONDS)
                return
