"""Calls to an etcd cluster: which member to ask, as whom, and for how long.

A read that a member does not answer is asked again of the next one. A write is sent once: it is repeated only where etcd
refused it for the login's sake, which it checks before doing anything. A connection is proven by a call that changes nothing
before a write goes over it, so that a member that is down costs no unknown outcome. Every call has a time limit.

Knows nothing of keys and objects.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
from grpc.aio import AioRpcError

from k3.agent.tasks import time_limit_at
from k3.agent.tls import BadFile, check_files
from k3.core import limits
from k3.core.errors import Forbidden, K3Error, StartFailed, Unavailable
from k3.stores.etcd import messages, troubles
from k3.stores.etcd.messages import Message, Method
from k3.stores.etcd.settings import EtcdStorage
from k3.stores.etcd.troubles import Asker

log = logging.getLogger(__name__)


# Two attempts at a read fit into the time limit, one on each of two members.
_READ_SHARE: Final = 0.4
_WRITE_SHARE: Final = 0.8
"""Of `limits.STORE_TIMEOUT_SECONDS`, for one attempt: less than all, so the client learns of it before its caller gives up."""

_CONNECT_SECONDS: Final = 2.0
_VERSION_SECONDS: Final = 1.0
_OPTIONS: Final = (
    # By default gRPC refuses answers of more than 4 MiB, which a page of large Nodes or a watch that catches up exceeds.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # By default gRPC waits up to two minutes before it tries a member again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Pings more often than every 5 s make etcd hang up.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # A store is where the configuration says; a proxy for the web is no way to it.
    ("grpc.enable_http_proxy", 0),
    # Otherwise channels to the same address share one connection, across stores.
    ("grpc.use_local_subchannel_pool", 1),
)

_CONSISTENT: Final = (messages.RANGE, messages.TXN)
"""Calls whose answers never show less than what was answered before; another's header may be behind, as its member is."""

Metadata = tuple[tuple[str, str], ...]


class Replaced(Unavailable):
    """The revisions went back: what answers now is not the store of before."""


class Endpoint:
    """One member: a connection that opens, and opens again, as it is used."""

    def __init__(self, url: str, channel: grpc.aio.Channel) -> None:
        self.url = url
        self._channel: grpc.aio.Channel | None = channel
        self._calls: dict[str, Any] = {
            method.path: channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for method in messages.METHODS
        }
        self._watch: Any = channel.stream_stream(
            messages.WATCH.path,
            request_serializer=messages.WATCH.request.SerializeToString,
            response_deserializer=messages.WATCH.response.FromString,
        )

    @property
    def is_ready(self) -> bool:
        """Whether there is a connection."""
        return self._channel is not None and self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def call(self, method: Method, request: Message, *, timeout: float, metadata: Metadata = ()) -> Message:  # noqa: ASYNC109 - grpc's own
        """Makes one call. Raises AioRpcError."""
        return await self._calls[method.path](request, timeout=timeout, metadata=metadata)

    def watch(self, metadata: Metadata) -> Any:  # noqa: ANN401 - grpc's call object, typed by its messages alone
        """Opens a stream of watch requests and responses. Cancelling a read of it ends it."""
        return self._watch(metadata=metadata)

    async def version(self, metadata: Metadata) -> str:
        """Returns the version of the member; empty where it does not say."""
        try:
            answer = await self.call(messages.STATUS, messages.StatusRequest(), timeout=_VERSION_SECONDS, metadata=metadata)
        except AioRpcError:
            return ""
        return str(answer.version)

    async def reach(self, timeout: float) -> None:  # noqa: ASYNC109 - grpc's own
        """Makes sure that there is a connection: any answer proves one. Raises AioRpcError."""
        try:
            await self.call(messages.STATUS, messages.StatusRequest(), timeout=timeout)
        except AioRpcError as error:
            # Any other error is an answer and proves the connection, even that this user may not ask.
            if troubles.is_outage(error) or error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise

    async def aclose(self) -> None:
        """Closes the connection. grpc closes the socket once nothing refers to the channel, so every reference is dropped."""
        channel, self._channel, self._watch = self._channel, None, None
        self._calls.clear()
        if channel is not None:
            await channel.close()


class Client:
    """The members of one cluster, one of them in use."""

    def __init__(self, settings: EtcdStorage, *, random: Random) -> None:
        """`random` picks the member to begin with. Raises StartFailed where a certificate's file cannot be read."""
        self._settings = settings
        self._endpoints = [Endpoint(url, channel) for url, channel in _channels(settings)]
        self._current = random.randrange(len(self._endpoints))
        self._connecting = asyncio.Lock()  # one task connects or logs in, and all others use what it gets
        self._slots = asyncio.Semaphore(limits.ETCD_CALLS)
        self._token: Metadata = ()
        self._lost: dict[str, str] = {}
        """The member that was in use and why it no longer is, until another one answers; empty: none was lost."""
        self._newest = 0
        """The newest revision that an answer has shown: what shows less is another store, or a restored one."""
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        """The member in use."""
        return self._endpoints[self._current]

    def asker(self, endpoint: Endpoint | None = None) -> Asker:
        """Returns what an error may name: `endpoint`, or all of them."""
        where = endpoint.url if endpoint else ", ".join(each.url for each in self._endpoints)
        return Asker(where, self._settings.username, self._settings.prefix)

    async def open(self) -> None:
        """Finds a member that answers, and logs in. Raises Unavailable, Forbidden."""
        async with self._connecting:
            await self._connect(self._settings.dial_timeout_seconds)
        if self._settings.username:
            await self._log_in(self._token)

    async def read(self, method: Method, request: Message, *, until: float = 0.0) -> Message:
        """Makes a call that may be repeated, of another member if need be. Raises K3Error.

        `until` is the event loop's time to give up at; by default `limits.STORE_TIMEOUT_SECONDS` from now.
        """
        until = until or deadline()
        left = max(2, len(self._endpoints))  # a lone member is asked twice: it may just have restarted
        while True:
            left -= 1
            try:
                return await self._call(method, request, share=_READ_SHARE, until=until)
            except AioRpcError as error:
                if not left or not troubles.is_outage(error):
                    raise troubles.explain(error, self.asker()) from None

    async def write(self, method: Method, request: Message, *, until: float = 0.0) -> Message:
        """Makes a call once. Raises K3Error; Unavailable leaves its outcome unknown."""
        until = until or deadline()
        if self._slots.locked():  # else no timer is needed
            async with self._in_time(until):
                await self._slots.acquire()
        else:
            await self._slots.acquire()
        try:
            return await self._call(method, request, share=_WRITE_SHARE, until=until)
        except AioRpcError as error:
            raise troubles.unknown(error, self.asker()) from None
        finally:
            self._slots.release()

    async def ready(self, until: float) -> Endpoint:
        """Returns a member with a connection. Raises Unavailable, Forbidden."""
        if self._closed:
            raise Unavailable(troubles.CLOSED)
        if not self.endpoint.is_ready:
            async with self._in_time(until), self._connecting:
                if not self.endpoint.is_ready:
                    await self._connect(min(self._settings.dial_timeout_seconds, _WRITE_SHARE * limits.STORE_TIMEOUT_SECONDS))
        return self.endpoint

    @property
    def metadata(self) -> Metadata:
        """What goes with every call: the login's token, if there is a login."""
        return self._token

    def lose(self, endpoint: Endpoint, why: str) -> None:
        """Notes that a member does not answer, and goes on with the next."""
        if endpoint is self.endpoint:
            self._current = (self._current + 1) % len(self._endpoints)
        if self._newest and not self._lost:  # before the first answer no member was in use
            self._lost = {"endpoint": endpoint.url, "why": why}

    async def aclose(self) -> None:
        """Closes all connections; calls under way end with Unavailable."""
        self._closed = True
        for endpoint in self._endpoints:
            await endpoint.aclose()

    async def _call(self, method: Method, request: Message, *, share: float, until: float) -> Message:
        renewed = False
        now = asyncio.get_running_loop().time
        while True:
            # `floor` is read before the call: only an answer asked for later has to show at least that much.
            endpoint, token, floor = await self.ready(until), self._token, self._newest
            timeout = min(share * limits.STORE_TIMEOUT_SECONDS, max(until - now(), 0.0))
            try:
                response = await endpoint.call(method, request, timeout=timeout, metadata=token)
            except AioRpcError as error:
                # Refused before anything was done, so a write may be sent again too; a new token that is refused as well, not.
                if troubles.is_old_token(error) and self._settings.username and not renewed:
                    renewed = True
                    async with self._in_time(until):
                        await self._log_in(token)
                    continue
                if troubles.is_outage(error):
                    self.lose(endpoint, str(troubles.unreachable(error, self.asker(endpoint))))
                raise
            except asyncio.CancelledError:
                self._check_cancelled()
                raise
            self._heard(endpoint, response.header.revision, floor if method in _CONSISTENT else 0)
            return response

    def _heard(self, endpoint: Endpoint, revision: int, floor: int) -> None:
        lost, self._lost = self._lost, {}
        if lost and lost["endpoint"] != endpoint.url:  # where none answers, the store's own outage says it
            log.warning("etcd.moved", extra={"fields": {**lost, "now": endpoint.url}})
        if revision < floor:
            self._newest = revision
            msg = (
                f"etcd at {endpoint.url} went back from revision {floor} to {revision}: it was emptied or restored; read again"
            )
            raise Replaced(msg)
        self._newest = max(self._newest, revision)

    @asynccontextmanager
    async def _in_time(self, until: float) -> AsyncIterator[None]:
        """Limits what grpc does not time itself. Raises Unavailable."""
        try:
            async with time_limit_at(until):
                yield
        except TimeoutError:
            msg = f"no answer from etcd at {self.asker().endpoint} for {limits.STORE_TIMEOUT_SECONDS:g} s"
            raise Unavailable(msg) from None

    def _check_cancelled(self) -> None:
        """Raises Unavailable where `aclose` has cancelled the call: the task that waits for it was not cancelled."""
        task = asyncio.current_task()
        if self._closed and not (task and task.cancelling()):
            raise Unavailable(troubles.CLOSED)

    async def _connect(self, seconds: float) -> None:
        failures: list[K3Error] = []
        for _ in self._endpoints:
            endpoint = self.endpoint
            try:
                await endpoint.reach(seconds / len(self._endpoints))
            except AioRpcError as error:
                failures.append(troubles.explain(error, self.asker(endpoint)))
                self.lose(endpoint, str(failures[-1]))
            except asyncio.CancelledError:
                self._check_cancelled()
                raise
            else:
                return
        # Forbidden ends a starting agent (ADR 21): so only where every member says no, and none is merely out of reach.
        kind = Forbidden if all(isinstance(failure, Forbidden) for failure in failures) else Unavailable
        raise kind("; ".join(str(failure) for failure in failures))

    async def _log_in(self, old: Metadata) -> None:
        """Fetches a new token, unless another task has fetched one meanwhile. Raises Forbidden, Unavailable."""
        async with self._connecting:
            if self._token != old:
                return
            request = messages.AuthenticateRequest(name=self._settings.username, password=self._settings.password)
            timeout = _WRITE_SHARE * limits.STORE_TIMEOUT_SECONDS
            try:
                response = await self.endpoint.call(messages.AUTHENTICATE, request, timeout=timeout)
            except AioRpcError as error:
                if not troubles.has_no_login(error):
                    raise troubles.explain(error, self.asker(self.endpoint)) from None
                self._token = ()  # etcd refuses the token of a login that it no longer asks for
                log.warning(
                    "etcd.has_no_users", extra={"fields": {"endpoint": self.endpoint.url, "user": self._settings.username}}
                )
                return
            self._token = (("token", response.token),)


def deadline() -> float:
    """Returns when to give up on what begins now, by the event loop's clock."""
    return asyncio.get_running_loop().time() + limits.STORE_TIMEOUT_SECONDS


def _channels(settings: EtcdStorage) -> Iterator[tuple[str, grpc.aio.Channel]]:
    connect_ms = int(1_000 * min(settings.dial_timeout_seconds, _CONNECT_SECONDS))
    options = (*_OPTIONS, ("grpc.min_reconnect_backoff_ms", connect_ms))
    credentials: Any = None
    for url in settings.endpoints:
        scheme, _, address = url.partition("://")
        if scheme == "https":
            credentials = credentials or _credentials(settings)
            yield url, grpc.aio.secure_channel(address, credentials, options=options)
        else:
            yield url, grpc.aio.insecure_channel(address, options=options)


def _credentials(settings: EtcdStorage) -> Any:  # noqa: ANN401 - grpc's own, opaque
    """Returns what TLS needs; the machine's own CAs where none is named. Raises StartFailed."""
    if bool(settings.cert_file) != bool(settings.key_file):
        msg = "storage.etcd.cert_file and key_file belong together: set both or neither"
        raise StartFailed(msg)
    # grpc would otherwise trust the CAs that it brings along, not the machine's.
    ca_file = settings.ca_file or ssl.get_default_verify_paths().cafile or ""
    files = [str(Path(path).expanduser()) if path else "" for path in (ca_file, settings.cert_file, settings.key_file)]
    try:
        check_files(*files)
    except BadFile as bad:
        msg = f"storage.etcd.{bad.role}_file: {bad}"
        raise StartFailed(msg) from None
    ca, cert, key = (Path(path).read_bytes() if path else None for path in files)
    return grpc.ssl_channel_credentials(ca, key, cert)
