"""A listening TCP socket that no refusal of the kernel ends or makes noisy. Knows nothing of what is spoken on it."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final

from k3.agent import packet_filter
from k3.agent.refusals import Trouble
from k3.core import limits
from k3.core.records import dataclass

_GONE_BEFORE_ACCEPTED: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EINTR,
        errno.ECONNABORTED,
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)
"""Errors of a connection that had not been accepted yet, as accept(2) of Linux passes them on."""

log = logging.getLogger(__name__)


MAPPED: Final = "::ffff:"
"""Before the address of an IPv4 client, at an IPv6 socket (RFC 4291 §2.5.5.2)."""
MEANWHILE: Final = "connections wait until the kernel lets them in"
SILENT_SECONDS: Final = 1
"""A client is let in as soon as it says something or hangs up, and after this time if it does neither (ADR 61)."""
PAUSE_SECONDS: Final = 1.0
"""Between two attempts where the kernel lets nothing in: clients wait no longer than that once it does again."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How connections are encrypted."""

    context: ssl.SSLContext
    handshake_seconds: float
    failed: Callable[[str, OSError], None]
    """Called with a client's address, and why there was no handshake with it."""


class Listener:
    """Accepts connections and hands each to a new protocol. Without descriptors or memory it waits, and says so once.

    asyncio's own server would log a traceback for each of them.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocols: Callable[[str], asyncio.BaseProtocol],
        *,
        trouble: Trouble,
        admits: Callable[[str], bool] = lambda _: True,
        exhausted: Callable[[], None] = lambda: None,
        tls: Tls | None = None,
    ) -> None:
        """Accepts from now on. `sock` is closed with the listener.

        `protocols` is given a client's address, and returns who speaks with it. `admits` is asked before, for each that has
        come; False: it is closed. `exhausted` may let go of descriptors. `trouble` says that the kernel lets nothing in.
        """
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._protocols = protocols
        self._admits = admits
        self._exhausted = exhausted
        self._tls = tls
        self._adopting: dict[asyncio.Task[None], socket.socket] = {}
        self._again: asyncio.TimerHandle | None = None
        self._trouble = trouble
        self._loop.add_reader(sock, self._accept_all)

    def share(self, *, on: bool) -> None:
        """Lets this process listen on the same port again, or no longer; other processes are told that it is taken."""
        # Linux compares the options when the second socket binds (socket(7)); another program's has not set this one.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(on))

    def turn_away(self, origins: Collection[str], *, passing: Collection[str] = ()) -> None:
        """Has the kernel drop what comes from these origins, and from no others; see `packet_filter.drop`."""
        with suppress(OSError):  # a sandbox may forbid it: they are closed once they are accepted
            packet_filter.drop(self._sock, origins, passing=passing)

    def take_over(self, addresses: Iterable[str]) -> bool:
        """Gets the clients at these addresses from now on, and no others, beside the listener that was there first.

        False: the kernel does not do that.
        """
        try:
            packet_filter.steer(self._sock, addresses)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Stops listening."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for task in self._adopting:
            task.cancel()

    def _accept_all(self) -> None:
        for _ in range(limits.HTTP_ACCEPTS_AT_ONCE):  # so that a flood of connections leaves other work its turn
            try:
                connection, address = self._sock.accept()
            except OSError as error:
                if error.errno not in _GONE_BEFORE_ACCEPTED:
                    self._pause(error)
                return
            self._trouble.ends()
            connection.settimeout(0)  # `accept` gives a blocking socket, whatever the listening one is
            if not self._admits(address[0]):
                connection.close()
            elif (ended := _gone(connection)) is not None:
                connection.close()
                if self._tls is not None:
                    self._tls.failed(address[0], ended)
            else:
                task = self._loop.create_task(self._adopt(connection, address[0]))
                self._adopting[task] = connection
                task.add_done_callback(self._adopted)

    def _adopted(self, task: asyncio.Task[None]) -> None:
        connection = self._adopting.pop(task)
        if task.cancelled():  # perhaps before its first step, so that it could not close what it was given
            connection.close()

    async def _adopt(self, connection: socket.socket, address: str) -> None:
        try:
            protocol = self._protocols(address)
            if self._tls is None:
                await self._loop.connect_accepted_socket(lambda: protocol, connection)
            else:
                await self._shake_hands(self._tls, connection, address, protocol)
        except BaseException:
            connection.close()
            raise

    async def _shake_hands(self, tls: Tls, connection: socket.socket, address: str, protocol: asyncio.BaseProtocol) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=tls.context, ssl_handshake_timeout=tls.handshake_seconds
            )
        except OSError as error:
            connection.close()
            tls.failed(address, error)

    def _pause(self, error: OSError) -> None:
        """Does not look for a while: the connection that waits keeps the socket readable, and the loop would spin."""
        self._trouble.begins(error)
        self._exhausted()
        self._loop.remove_reader(self._sock)
        self._again = self._loop.call_later(self._trouble.pause_seconds, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._sock, self._accept_all)


def _gone(connection: socket.socket) -> OSError | None:
    """Returns how a client has ended the connection without a word, if it has: to find out costs far less than a transport."""
    try:
        return None if connection.recv(1, socket.MSG_PEEK) else ConnectionResetError()
    except BlockingIOError:
        return None
    except OSError as error:
        return error


def listening_socket(host: str, port: int, interface: str = "", *, shared: bool = False) -> socket.socket:
    """Returns a non-blocking socket on an IP literal or on every address, of one interface if one is named. Raises OSError.

    `shared`: beside a socket of this process that listens there and shares.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return _bound(family, host, port, interface, shared=shared)
    try:
        return _bound(socket.AF_INET6, "::", port, interface, shared=shared)
    except OSError as error:
        # A kernel without IPv6 (ipv6.disable=1, or disable_ipv6 on every interface).
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}:
            raise
    return _bound(socket.AF_INET, "0.0.0.0", port, interface, shared=shared)  # noqa: S104 - peers on every link must reach it, and it tells nothing secret


def _bound(family: socket.AddressFamily, host: str, port: int, interface: str, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # A restart finds connections of the former run in TIME_WAIT on its port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # So `::` takes IPv4 as well, whatever net.ipv6.bindv6only says.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        with suppress(OSError):  # a sandbox may not know it: then each is let in at once
            # In all protocols served here the client speaks first. Until it does, it waits in the kernel (tcp(7), ADR 61).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, SILENT_SECONDS)
        sock.bind((host, port))
        sock.listen(limits.HTTP_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
