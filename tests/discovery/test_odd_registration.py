"""Odd answers of Consul's agent about this machine's registration: the registrar goes on, says so once, and is right again."""

import asyncio
import json
import logging
from random import Random
from typing import Any

import pytest

from k3.core.observation import Facts
from k3.discovery.register import Registrar, Registration
from k3.discovery.settings import from_flags
from tests.discovery.answering import reply
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import eventually
from tests.discovery.odd_consul import HELD, odd_consul

OURS = Registration(
    service="k3-node",
    service_id="k3-node-web1",
    address="127.0.0.1",
    port=7946,
    facts=Facts(node="web1", id="a" * 32, boot="b" * 16),
)


def held(**odd: Any) -> bytes:
    usual = {"Service": "k3-node", "ID": "k3-node-web1", "Address": "127.0.0.1", "Port": 7946, "ContentHash": "other"}
    return reply(json.dumps({**usual, "Meta": {"node": "web1"}, "Tags": [], **odd}).encode())


ODD = {
    "Meta a list": held(Meta=["node"]),
    "Meta a text": held(Meta="node"),
    "Meta of numbers": held(Meta={"id": 7}),
    "Tags a text": held(Tags="blue"),
    "Tags mixed": held(Tags=["blue", 7, None, {}]),
    "Tags an object": held(Tags={"a": 1}),
    "Port a list": held(Port=[7946]),
    "Port too large": held(Port=10**30),
    "Address a number": held(Address=7),
    "Service an object": held(Service={}),
    "hash a list": held(ContentHash=["a"]),
    "hash long": held(ContentHash="x" * 5_000),
    "list": reply(b"[]"),
    "null": reply(b"null"),
    "HTML": reply(b"<html>"),
    "empty": reply(b""),
    "deep": reply(b'{"Meta":' + b"[" * 100_000),
    "not finite": reply(b'{"Port":1e999}'),
    "long": reply(b'{"Meta":"' + b"x" * 2**21 + b'"}'),
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
    "hung up": b"",
}


async def _is_well() -> bool:
    return True


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_registration_is_said_once_and_ends_nothing(
    odd: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with odd_consul() as server, asyncio.TaskGroup() as tasks:
        made = Registrar(connect(from_flags(server.address, "", {})), OURS, proves=_is_well, random=Random(1))
        running = tasks.create_task(made.run())
        async with asyncio.timeout(30):
            await made.listed.wait()
        server.say(HELD, ODD[odd])
        made.nudge()
        await server.is_asked(HELD, more=3)
        assert made.holds is None
        assert len([each for each in caplog.records if each.getMessage() == "consul.unavailable"]) == 1
        server.say(HELD, None)

        async def is_back() -> bool:
            return made.holds is True and made.listed.is_set()

        await eventually(is_back)
        server.say(HELD, ODD[odd])
        assert not await made.leave()
        assert not running.done()
        running.cancel()
