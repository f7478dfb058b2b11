"""Whose turn it is, and when."""

import asyncio

from k3.discovery.agenda import Agenda

GUARD_SECONDS = 20.0


async def rested(agenda: Agenda, seconds: float = 60.0) -> None:
    async with asyncio.timeout(GUARD_SECONDS):
        await agenda.rest(seconds)


async def test_turns_come_in_order_and_once() -> None:
    agenda = Agenda()
    for name in ("b", "a", "b"):
        agenda.note(name)
    assert agenda.pending == ["b", "a"]
    agenda.done("b")
    assert agenda.pending == ["a"]


async def test_a_rest_ends_with_a_change_a_time_or_by_itself() -> None:
    agenda = Agenda()
    agenda.wake()
    await rested(agenda)
    agenda.wake_after(0.01)
    await rested(agenda)
    agenda.take_due()
    assert agenda.pending == [], "a time without a name is the turn of no Node"
    await rested(agenda, 0.01)


async def test_only_the_last_plan_for_a_name_counts() -> None:
    agenda = Agenda()
    agenda.plan("a", 0.0)
    agenda.plan("a", 60.0)
    agenda.plan("b", 0.0)
    agenda.plan("c", 0.0)
    agenda.drop("c")
    await rested(agenda)
    agenda.take_due()
    assert agenda.pending == ["b"]
