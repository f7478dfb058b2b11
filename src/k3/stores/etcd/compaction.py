"""Removes old history: etcd never does by itself, and at its quota it takes no more writes.

Every `limits.HISTORY_SECONDS` each process tries to move a note on by compare-and-swap; the one that succeeds compacts to the
revision it saw at its last round. So at least that long, and `limits.HISTORY_REVISIONS`, are kept, by the winner's own clock,
and however many processes there are, one compacts. A process that has just started, or has just lost, waits a whole round.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from k3.core import limits
from k3.core.errors import Expired, Forbidden, K3Error
from k3.core.records import dataclass
from k3.stores.etcd import messages
from k3.stores.etcd.client import Client

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """How things stood at the last round: the note's mod revision (0: there is none), and the store's newest revision."""

    note: int
    revision: int


class Compactor:
    """The share of one process in the work."""

    def __init__(self, client: Client, note: bytes, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """`note` is the key that all compete for."""
        self._client = client
        self._note = note
        self._sleep = sleep
        self._seen: _Seen | None = None
        self._is_refused = False

    async def run(self) -> None:
        """Takes part for ever. That etcd refuses this user is logged once; it is tried again, as the right may be granted."""
        while True:
            try:
                await self.round()
                self._is_refused = False
            except Forbidden as refused:
                if not self._is_refused:
                    log.warning("etcd.may_not_compact", extra={"fields": {"why": str(refused)}})
                self._is_refused = True
            except K3Error as error:
                self._seen = None
                log.debug("etcd.not_compacted", extra={"fields": {"why": str(error)}})
            except Exception:  # whatever it was, the next round is tried: an etcd without compaction stops at its quota
                self._seen = None
                log.exception("etcd.not_compacted")
            await self._sleep(limits.HISTORY_SECONDS)

    async def round(self) -> int:
        """Makes one attempt. Returns the revision compacted to; 0: none. Raises K3Error."""
        seen = self._seen
        if seen is None:
            self._seen = await self._look()
            return 0
        response = await self._client.write(
            messages.TXN, messages.put_if(self._note, str(seen.revision).encode(), revision=seen.note)
        )
        newest = response.header.revision
        if not response.succeeded:
            found = messages.found_instead(response)
            self._seen = _Seen(found.mod_revision if found else 0, newest)
            return 0
        self._seen = _Seen(newest, newest)
        # Not to the newest: what was written since the last round is younger than `limits.HISTORY_SECONDS`.
        return await self._compact(min(seen.revision, newest - limits.HISTORY_REVISIONS))

    async def _look(self) -> _Seen:
        response = await self._client.read(messages.RANGE, messages.RangeRequest(key=self._note))
        return _Seen(response.kvs[0].mod_revision if response.kvs else 0, response.header.revision)

    async def _compact(self, revision: int) -> int:
        if revision <= 0:
            return 0
        try:
            await self._client.write(messages.COMPACT, messages.CompactionRequest(revision=revision))
        except Expired:
            return 0  # etcd (--auto-compaction-mode) or another program has compacted further
        log.info("etcd.compacted", extra={"fields": {"revision": revision}})
        return revision
