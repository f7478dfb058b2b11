"""Where a machine's Consul agent is silent, the machine itself is asked: at the address and port that it registered.

Only machines that k3 registered are asked, since they say who they are. An answer proves that the machine lives; that none
comes may be a firewall's doing, so it proves nothing (ADR 24).
"""

import asyncio
from typing import Final

from k3.agent import http
from k3.agent.http import HttpError, Server
from k3.agent.info import parse_info
from k3.core.errors import Invalid
from k3.core.observation import Facts

ASK_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 0.2
"""The pause before the second question to a machine that did not answer the first."""


async def is_alive(facts: Facts) -> bool:
    """Whether the machine of these facts answers, at the second attempt if need be. They have an address, a port and an id."""
    if await _answers(facts):
        return True
    await asyncio.sleep(AGAIN_SECONDS)
    return await _answers(facts)


async def _answers(facts: Facts) -> bool:
    try:
        answer = await http.get(Server(host=facts.addresses[0], port=facts.port), "/info", timeout_seconds=ASK_SECONDS)
    except (OSError, HttpError):
        return False
    try:
        return parse_info(answer.body).facts.id == facts.id
    except Invalid:
        return False
