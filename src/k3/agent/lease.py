"""One mirror leads per service and store: leader election by a Lease object in the store.

The holder renews its Lease every few seconds. A contender watches it, and takes it when it was released, or has not
changed for its whole duration as counted by the contender's own clock: the times written in it are for people, since
no other host's clock is believed (ADR 33). Every take and every renewal is conditional on the revision last seen, so one wins.
A leader that cannot prove a renewal younger than `proof_seconds` must not write: it may have been replaced without knowing.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from k3.agent.backoff import Backoff
from k3.agent.tasks import time_limit, time_limit_at
from k3.core import node
from k3.core.errors import AlreadyExists, Conflict, Expired, Invalid, K3Error, NotFound, NotPermitted
from k3.core.objects import LEASE, Key, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Change, Store

NAMESPACE: Final = "kube-system"
RETRY_SECONDS: Final = 0.5
RELEASE_SECONDS: Final = 1.5
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0
NOT_PERMITTED_SECONDS: Final = 60.0
"""How long a contender waits whom the store does not let write the Lease."""
REFUSALS: Final = 8
"""In a row, without a Lease that could be read, before a person is told."""
LONGEST_SECONDS: Final = 60.0
"""The longest that a Lease of another program makes a contender wait, whatever duration it says."""
_TRANSITIONS: Final = 2**31 - 1
"""An int32 in Kubernetes."""

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a Lease lasts, how often it is renewed, and how old a renewal may be for its holder to write.

    `proof_seconds` is shorter than `duration_seconds`: the holder has stopped writing before a contender may take over.
    """

    duration_seconds: float = 15.0
    renew_seconds: float = 5.0
    proof_seconds: float = 10.0


def lease_key(service: str) -> Key:
    """Returns the Lease that the mirrors of a service compete for; where its name cannot be an object's, by a hash."""
    name = f"k3-discovery-{service}"
    if not node.valid_name(name):
        name = f"k3-discovery-{hashlib.sha256(service.encode(errors='replace')).hexdigest()[:16]}"
    return Key(LEASE, name, NAMESPACE)


class Leadership:
    """The part of this process in the election. `holder` is unique to this run."""

    def __init__(self, store: Store, key: Key, holder: str, *, random: Random, terms: Terms | None = None) -> None:
        self._store = store
        self._key = key
        self._holder = holder
        self._random = random
        self._terms = terms or Terms()
        self._seen: Object | None = None
        """The Lease as last seen, or as this process wrote it."""
        self._leads = False
        self._renewed_at = 0.0

    @property
    def may_write(self) -> bool:
        """Whether this process leads, and can prove it now."""
        return self._leads and asyncio.get_running_loop().time() - self._renewed_at < self._terms.proof_seconds

    async def run(self, work: Work) -> None:
        """Competes for ever; while this process leads, `work` runs, and it is cancelled when it no longer does."""
        while True:
            await self._win()
            log.info("lease.won", extra={"fields": {"lease": self._key.name}})
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(work())
                await self._keep()
                running.cancel()
            log.warning("lease.lost", extra={"fields": {"lease": self._key.name}})

    async def release(self) -> None:
        """Lets another process lead at once, best effort. `run` must have ended."""
        led, self._leads = self._leads, False
        if not led or self._seen is None:
            return
        manifest = self._seen.manifest()
        # As client-go releases a Lease: no holder, and a duration that any reader sees to be over.
        manifest["spec"] = {**_spec(manifest), "holderIdentity": "", "leaseDurationSeconds": 1}
        with suppress(K3Error, TimeoutError):
            async with time_limit(RELEASE_SECONDS):
                await self._store.update(self._seen.with_manifest(manifest))
                log.info("lease.released", extra={"fields": {"lease": self._key.name}})

    # ── as a contender ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _win(self) -> None:
        """Returns once this process holds the Lease."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=self._random.random)
        refused = 0
        while True:
            seen = self._seen
            try:
                if await self._look():
                    await self._take()
                    return
            except (AlreadyExists, Conflict, NotFound, Expired, Invalid) as error:
                # Another contender was first, or history is gone: look again. Where nothing changes meanwhile, the Lease cannot
                # be read: the list leaves it out, and its name is taken.
                refused += 1
                if refused == REFUSALS:
                    advice = "k3 store check says what is wrong with it; k3 discovery mirrors once it is repaired or removed"
                    fields = {"lease": self._key.name, "why": str(error), "advice": advice}
                    log.warning("lease.not_taken", extra={"fields": fields})
            except NotPermitted as error:
                advice = "others mirror Consul then; to have a part in it, this agent needs a token that is bound to no machine"
                fields = {"lease": self._key.name, "why": str(error), "advice": advice}
                log.warning("lease.not_taken", extra={"fields": fields})
                await asyncio.sleep(NOT_PERMITTED_SECONDS)
            except K3Error as error:
                log.debug("lease.unavailable", extra={"fields": {"lease": self._key.name, "why": str(error)}})
            if self._seen is not None and self._seen is not seen:
                backoff.reset()
                refused = 0
            await asyncio.sleep(backoff.next_seconds())

    async def _look(self) -> bool:
        """Waits until the Lease may be taken. Returns False where the watch ended before."""
        page = await self._store.list(LEASE, namespace=self._key.namespace)
        self._seen = next((item for item in page.objects if item.key == self._key), None)
        if self._is_free():
            return True
        loop = asyncio.get_running_loop()
        try:
            async with time_limit_at(loop.time() + self._patience()) as limit:
                return await self._wait(page.revision, limit)
        except TimeoutError:
            return True

    async def _wait(self, since: int, limit: asyncio.Timeout) -> bool:
        loop = asyncio.get_running_loop()
        async with self._store.watch(LEASE, since) as events:
            async for event in events:
                if isinstance(event, Change) and event.object.key == self._key:
                    self._seen = None if event.type == "DELETED" else event.object
                    if self._is_free():
                        return True
                    # A change is a sign of life: the whole patience begins anew, by this process's own clock.
                    limit.reschedule(loop.time() + self._patience())
        return False

    def _is_free(self) -> bool:
        holder = _spec(self._seen.manifest()).get("holderIdentity") if self._seen else ""
        return not holder or holder == self._holder

    def _patience(self) -> float:
        """Returns how long the holder may be silent, in seconds."""
        written = _spec(self._seen.manifest()).get("leaseDurationSeconds") if self._seen else None
        known = isinstance(written, int | float) and not isinstance(written, bool) and 0 < written <= LONGEST_SECONDS
        return float(written) if known and written else self._terms.duration_seconds

    async def _take(self) -> None:
        """Writes this process into the Lease as last seen. Raises Conflict and the like where another one was first."""
        # The proof counts from before the write: when it took effect in the store cannot be known more exactly.
        began, at = asyncio.get_running_loop().time(), _micro_time()
        former = self._seen.manifest() if self._seen else {}
        count = _spec(former).get("leaseTransitions")
        spec = {
            **_spec(former),
            "holderIdentity": self._holder,
            "leaseDurationSeconds": self._written_duration(),
            "acquireTime": at,
            "renewTime": at,
            "leaseTransitions": (count + 1 if type(count) is int and 0 <= count < _TRANSITIONS else 1) if self._seen else 0,
        }
        if self._seen is None:
            self._seen = await self._store.create(self._key, {"metadata": {}, "spec": spec})
        else:
            self._seen = await self._store.update(self._seen.with_manifest({**former, "spec": spec}))
        self._leads, self._renewed_at = True, began

    def _written_duration(self) -> int | float:
        seconds = self._terms.duration_seconds  # an int32 in Kubernetes; fractions are for tests
        return int(seconds) if seconds == int(seconds) else seconds

    # ── as the leader ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self) -> None:
        """Renews until that fails for a whole duration, or another process holds the Lease."""
        loop = asyncio.get_running_loop()
        pause = self._terms.renew_seconds
        while self._leads:
            await asyncio.sleep(pause)
            try:
                await self._renew()
                pause = self._terms.renew_seconds
            except (Conflict, NotFound):
                self._leads = False
            except K3Error as error:
                log.debug("lease.not_renewed", extra={"fields": {"lease": self._key.name, "why": str(error)}})
                # Tried again soon: it may not write meanwhile, but leads on until another one may have taken the Lease.
                pause = min(RETRY_SECONDS, self._terms.renew_seconds)
                self._leads = loop.time() - self._renewed_at < self._terms.duration_seconds

    async def _renew(self) -> None:
        """Renews once. A renewal of unknown outcome may have been made: the Lease is then held at another revision."""
        began = asyncio.get_running_loop().time()
        if self._seen is None:
            raise NotFound(str(self._key))
        try:
            self._seen = await self._store.update(self._renewed(self._seen))
        except Conflict:
            found = await self._store.get(self._key)
            if _spec(found.manifest()).get("holderIdentity") != self._holder:
                raise
            self._seen = await self._store.update(self._renewed(found))
        self._renewed_at = began

    def _renewed(self, item: Object) -> Object:
        manifest = item.manifest()
        return item.with_manifest({**manifest, "spec": {**_spec(manifest), "renewTime": _micro_time()}})


def _spec(manifest: Manifest) -> dict[str, Any]:
    found = manifest.get("spec")
    return found if isinstance(found, dict) else {}


def _micro_time() -> str:
    """Returns the time now as Kubernetes' MicroTime. For people only."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
