"""How many are asked at once, what is said when the kernel refuses to ask anybody, and how a machine asks itself."""

import asyncio
import errno
import logging
from dataclasses import replace

import pytest

from k3.agent.refusals import QUIET_SECONDS
from k3.core.observation import Facts
from k3.network import prober
from k3.network.events import SelfProven
from k3.network.links import Interface, Links
from k3.network.messages import Answered, Endpoint, LocalFault, NoAnswer, Outcome, Refused, Target
from k3.network.probe import Via
from k3.network.prober import Prober
from k3.network.self_proof import RETRY_SECONDS, SelfProof
from k3.network.whereabouts import Whereabouts
from tests.fake_time import now, on_fake_time

END = Endpoint("10.0.0.1", 7946)
ME = Facts(node="web", addresses=("10.0.0.1",), port=7946, id="a" * 32)
ANSWERED = Answered(facts=ME, endpoint=END, group=0)
WEB2 = Target("web2", ((Endpoint("10.0.0.2", 7946),),))
NO_DESCRIPTOR = LocalFault("EMFILE", passes=True)


def links(*addresses: str) -> Links:
    return Links((Interface(name="eth0", index=2, mac="", running=True, addresses=addresses, prefixes=("10.0.0.0/24",)),))


class Peers:
    """Who is asked. `outcome` is what comes of it, or is raised, after `seconds`."""

    def __init__(self, outcome: Outcome | OSError = ANSWERED, *, seconds: float = 0.0) -> None:
        self.outcome = outcome
        self.seconds = seconds
        self.began_at = now()
        self.asked: list[tuple[float, Target, Via]] = []
        self.running = self.most = 0

    async def ask(self, target: Target, *, timeout_seconds: float, via: Via = str) -> Outcome:
        self.asked.append((now() - self.began_at, target, via))
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.seconds)
        self.running -= 1
        if isinstance(self.outcome, OSError):
            raise self.outcome
        return self.outcome

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.asked]


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, bool]]:
    """The events, and whether each was the end of one."""
    return [(each.getMessage(), "over" in each.fields) for each in caplog.records]  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# --- peers


@on_fake_time
async def test_no_more_are_asked_at_once_than_there_are_descriptors_for() -> None:
    peers = Peers(seconds=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prober, "descriptors_for", lambda _: 4)
        asking = Prober(Whereabouts(), ask=peers.ask)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(asking.ask(WEB2, timeout_seconds=2.0))
    assert peers.most == 4
    assert peers.times == [0.0] * 4 + [1.0] * 4 + [2.0] * 2


@on_fake_time
async def test_a_peer_is_asked_by_the_links_of_the_moment_in_which_it_is_asked() -> None:
    peers, where = Peers(seconds=1.0), Whereabouts()
    first = where.links
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prober, "descriptors_for", lambda _: 1)
        asking = Prober(where, ask=peers.ask)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asking.ask(WEB2, timeout_seconds=2.0))
        tasks.create_task(asking.ask(WEB2, timeout_seconds=2.0))
        await asyncio.sleep(0.5)
        where.links = later = links("10.0.0.1")
    assert [via for _, _, via in peers.asked] == [first.detour, later.detour]


@pytest.mark.parametrize("outcome", [NO_DESCRIPTOR, OSError(errno.EMFILE, "")], ids=["probe", "before-the-probe"])
@on_fake_time
async def test_a_refusal_of_the_kernels_is_a_fault_here_and_is_told_once(
    outcome: LocalFault | OSError, caplog: pytest.LogCaptureFixture
) -> None:
    peers = Peers(outcome)
    asking = Prober(Whereabouts(), ask=peers.ask)
    for _ in range(3):
        assert await asking.ask(WEB2, timeout_seconds=2.0) == NO_DESCRIPTOR
    assert said(caplog) == [("probes.refused", False)]
    fields = caplog.records[0].fields  # type: ignore[attr-defined]
    assert fields["meanwhile"] == "nobody is asked, and nothing is concluded from that"
    assert "LimitNOFILE" in fields["advice"]
    peers.outcome = LocalFault("EADDRNOTAVAIL")
    await asyncio.sleep(QUIET_SECONDS)
    await asking.ask(WEB2, timeout_seconds=2.0)
    assert len(caplog.records) == 1, "where nobody was asked it is not over"
    peers.outcome = Refused()
    await asking.ask(WEB2, timeout_seconds=2.0)
    assert said(caplog) == [("probes.refused", False), ("probes.refused", True)]


@on_fake_time
async def test_an_error_that_does_not_pass_is_the_links() -> None:
    asking = Prober(Whereabouts(), ask=Peers(OSError(errno.ENETDOWN, "")).ask)
    assert await asking.ask(WEB2, timeout_seconds=2.0) == LocalFault("ENETDOWN")


# --- this machine


class Self:
    """A machine that asks itself, on one interface with these addresses."""

    def __init__(self, outcome: Outcome = ANSWERED, *addresses: str) -> None:
        self.facts = ME
        self.proven: list[SelfProven] = []
        self.peers = Peers(outcome)
        self.where = Whereabouts()
        self.where.links = links(*addresses) if addresses else Links()
        self.proof = SelfProof(self.where, facts=lambda: self.facts, tell=self.proven.append, ask=self.peers.ask)


@on_fake_time
async def test_a_machine_is_proven_once_for_each_thing_that_it_says(caplog: pytest.LogCaptureFixture) -> None:
    me = Self()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(me.proof.run())
        await asyncio.sleep(100.0)
        assert me.proven == [SelfProven(ME)]
        me.facts = replace(ME, addresses=("10.0.0.9",))
        me.proof.again()
        await asyncio.sleep(100.0)
        assert me.proven == [SelfProven(ME), SelfProven(me.facts)]
        assert me.peers.times == [0.0, 100.0]
        running.cancel()
    assert caplog.records == []


@on_fake_time
async def test_what_changes_while_it_asks_is_asked_about_again() -> None:
    me = Self()
    me.peers.seconds = 1.0
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(me.proof.run())
        await asyncio.sleep(0.5)
        me.proof.again()
        await asyncio.sleep(10.0)
        assert me.peers.times == [0.0, 1.0]
        running.cancel()


@on_fake_time
async def test_a_machine_that_does_not_answer_is_told_so_once_and_asked_on(caplog: pytest.LogCaptureFixture) -> None:
    me = Self(NoAnswer("no answer in time"))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(me.proof.run())
        await asyncio.sleep(2 * RETRY_SECONDS + 0.5)
        assert me.peers.times == [0.0, 1.0, 2.0]
        me.proof.again()
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert me.peers.times == [0.0, 1.0, 2.0, 2.5], "a change is not waited for"
        assert said(caplog) == [("self.unproven", False)]
        assert caplog.records[0].fields == {  # type: ignore[attr-defined]
            "port": 7946,
            "addresses": ("10.0.0.1",),
            "outcome": "NoAnswer",
            "advice": "do --listen and the firewall let others in?",
        }
        assert me.proven == []
        me.peers.outcome = ANSWERED
        await asyncio.sleep(RETRY_SECONDS)
        assert me.proven == [SelfProven(ME)]
        me.peers.outcome = Refused()
        me.proof.again()
        await asyncio.sleep(10.0)
        assert len(caplog.records) == 2, "it failed anew"
        running.cancel()


@pytest.mark.parametrize(
    ("addresses", "asked"),
    [
        (("10.0.0.1", "2001:db8::1"), ["10.0.0.1", "2001:db8::1"]),
        (("fe80::1",), ["fe80::1%eth0"]),
        ((), ["127.0.0.1"]),
    ],
)
@on_fake_time
async def test_it_is_asked_where_others_would_ask(addresses: tuple[str, ...], asked: list[str]) -> None:
    me = Self(ANSWERED, *addresses)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(me.proof.run())
        await asyncio.sleep(1.0)
        running.cancel()
    assert [target for _, target, _ in me.peers.asked] == [
        Target("web", (tuple(Endpoint(each, 7946) for each in asked),), ME.id)
    ]
