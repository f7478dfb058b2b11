"""What is heard within the time, however busy the machine is that listens."""

import asyncio
import socket
import time

import pytest

from k3.network import hearing


async def test_what_came_in_time_is_taken_in_by_a_machine_that_was_too_busy_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "ASK_AGAIN_SECONDS", 0.0)
    taken: list[bytes] = []
    with socket.socket(type=socket.SOCK_DGRAM) as here, socket.socket(type=socket.SOCK_DGRAM) as there:
        for each in (here, there):
            each.bind(("127.0.0.1", 0))
        here.setblocking(False)

        def answers_while_the_machine_is_busy() -> None:
            there.sendto(b"answer", here.getsockname())
            time.sleep(0.3)

        loop = asyncio.get_running_loop()
        loop.call_later(0.05, answers_while_the_machine_is_busy)
        until = loop.time() + 0.2
        await hearing._converse(here, there.getsockname(), b"question", lambda packet, _: taken.append(packet), until)
    assert taken == [b"answer"]
