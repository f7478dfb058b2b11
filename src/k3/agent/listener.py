"""A listening TCP socket that no refusal of the kernel ends or makes noisy. Knows nothing of what is spoken on it."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

from k3.agent.refusals import Trouble

BACKLOG: Final = 128

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


class Listener:
    """Accepts connections and hands each to a new protocol. Without descriptors or memory it waits, and says so once."""

    def __init__(self, sock: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accept from now on; the socket is closed with the listener."""
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._protocol = protocol
        self._adopting: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._trouble = Trouble(log, "health.refused", "connections wait until the kernel lets them in")
        self._loop.add_reader(sock, self._accept_all)

    def share(self) -> None:
        """Let this process listen on the same port a second time; other processes are still told that it is taken."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def close(self) -> None:
        """Stop listening."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for task in self._adopting:
            task.cancel()

    def _accept_all(self) -> None:
        for _ in range(BACKLOG):
            try:
                connection, _ = self._sock.accept()
            except OSError as error:
                if error.errno not in _GONE_BEFORE_ACCEPTED:
                    self._pause(error)
                return
            self._trouble.ends()
            connection.settimeout(0)
            task = self._loop.create_task(self._adopt(connection))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    async def _adopt(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except BaseException:
            connection.close()
            raise

    def _pause(self, error: OSError) -> None:
        """The waiting connection keeps the socket readable: not to look is all that helps."""
        self._trouble.begins(error)
        self._loop.remove_reader(self._sock)
        self._again = self._loop.call_later(self._trouble.pause_seconds, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._sock, self._accept_all)


def listening_socket(host: str, port: int, interface: str = "") -> socket.socket:
    """A non-blocking socket on an IP literal, or on every address; on one interface only where one is named. Raises OSError."""
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return _bound(family, host, port, interface)
    try:
        return _bound(socket.AF_INET6, "::", port, interface)
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}:
            raise
    return _bound(socket.AF_INET, "0.0.0.0", port, interface)  # noqa: S104 - peers on every link must reach it, and it tells nothing secret


def _bound(family: socket.AddressFamily, host: str, port: int, interface: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
