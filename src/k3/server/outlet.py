"""The way past the reader of a watch: a line goes straight to a client that has taken all before it (ADR 60).

Of a thousand watchers that hear of one change, each would else have a task woken for it, which costs more than the line.
"""

import asyncio


class Outlet:
    """Where the lines of one watch go while its client takes them at once; closed until its answer has begun."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._is_chunked = False

    def open(self, transport: asyncio.WriteTransport | None, *, is_chunked: bool) -> None:
        """The head of the answer has been sent; `is_chunked`: what follows is in chunks (RFC 9112 §7.1)."""
        self._transport = transport
        self._is_chunked = is_chunked

    def close(self) -> None:
        """The answer is over."""
        self._transport = None

    @property
    def is_free(self) -> bool:
        """Whether the client has taken everything, so that more may be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not transport.get_write_buffer_size()

    def send(self, some: bytes) -> None:
        """Sends some lines. To be called only while it is free."""
        if self._transport is not None and some:
            self._transport.write(b"%x\r\n%s\r\n" % (len(some), some) if self._is_chunked else some)
