"""What is said about firewalls in the way, and when: exact times, without a network."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from k3.core.observation import Facts
from k3.network import lookout, multicast
from k3.network.links import Interface, Links
from k3.network.lookout import UNHEARD_SECONDS, UNVISITED_SECONDS, Lookout, describe
from k3.network.messages import Announcement, Answered, Endpoint, NoAnswer, Refused, Target
from k3.network.multicast import Blocked

HERE = Links((Interface(name="eth0", index=2, mac="", running=True, addresses=("10.0.0.1",), prefixes=("10.0.0.0/24",)),))
WEB2 = Announcement(instance="web2-00000000", node="web2", addresses=("10.0.0.2",), port=7946)
END = Endpoint("10.0.0.2", 7946)
TARGET = Target("web2", ((END,),))
KNOWN = Answered(facts=Facts(node="web2", id="f" * 32), endpoint=END, group=0)
PLAIN = Answered(facts=Facts(node="web2"), endpoint=END, group=0)


class Bench:
    """A lookout with a clock of its own, and the events it has logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 100.0
        self.caplog = caplog
        self.opened = 0
        self.lookout = Lookout(lambda: 7946, opened=self._open, clock=lambda: self.now)
        self.lookout.relinked(HERE)
        self.lookout.listen()

    def _open(self) -> None:
        self.opened += 1

    def after(self, seconds: float) -> list[str]:
        self.now += seconds
        self.lookout._say_what_is_known()
        return [each.getMessage() for each in self.caplog.records]


@pytest.fixture
def bench(caplog: pytest.LogCaptureFixture) -> Bench:
    caplog.set_level(logging.INFO)
    return Bench(caplog)


async def test_who_asks_and_is_not_heard_is_named_once(bench: Bench) -> None:
    bench.lookout.asked_by("::ffff:10.0.0.2")
    assert bench.after(UNHEARD_SECONDS - 0.1) == []
    assert bench.after(0.1) == ["multicast.unheard"]
    assert "10.0.0.2 asks" in bench.caplog.records[0].fields["what"]  # type: ignore[attr-defined]
    bench.lookout.asked_by("10.0.0.3")
    assert bench.after(UNHEARD_SECONDS) == ["multicast.unheard"]


@pytest.mark.parametrize("remote", ["10.0.0.1", "127.0.0.1", "203.0.113.7", ""])
async def test_oneself_and_strangers_are_not_missed(bench: Bench, remote: str) -> None:
    bench.lookout.asked_by(remote)
    assert bench.after(60) == []


async def test_who_is_heard_before_or_after_is_not_missed(bench: Bench) -> None:
    bench.lookout.asked_by("10.0.0.2")
    bench.lookout.heard(WEB2)
    bench.lookout.asked_by("10.0.0.2")
    assert bench.after(60) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([NoAnswer(""), NoAnswer("")], ["tcp.unanswered"]),
        ([NoAnswer("")], []),
        ([Refused(), Refused(), NoAnswer("")], []),
        ([PLAIN, NoAnswer(""), NoAnswer("")], []),
    ],
)
async def test_announced_and_none_answers(bench: Bench, seen: list[Answered | NoAnswer | Refused], said: list[str]) -> None:
    bench.lookout.heard(WEB2)
    for outcome in seen:
        bench.lookout.probed(TARGET, outcome)
    assert bench.after(0) == said
    assert bench.after(0) == said


async def test_silence_of_what_is_not_announced_is_an_old_node(bench: Bench) -> None:
    for _ in range(9):
        bench.lookout.probed(TARGET, NoAnswer(""))
    assert bench.after(60) == []


async def test_others_answer_and_nobody_comes(bench: Bench) -> None:
    bench.lookout.probed(TARGET, KNOWN)
    assert bench.after(UNVISITED_SECONDS - 0.1) == []
    assert bench.after(0.1) == ["tcp.unvisited"]
    assert "7946/tcp" in bench.caplog.records[0].fields["advice"]  # type: ignore[attr-defined]
    assert bench.after(600) == ["tcp.unvisited"]


@pytest.mark.parametrize("visit", [lambda b: b.lookout.visited(), lambda b: b.lookout.asked_by("10.0.0.2")])
async def test_one_visit_is_enough(bench: Bench, visit: Callable[[Bench], None]) -> None:
    bench.lookout.heard(WEB2)
    bench.lookout.probed(TARGET, KNOWN)
    visit(bench)
    assert bench.after(600) == []


async def test_other_implementations_need_not_come(bench: Bench) -> None:
    bench.lookout.probed(TARGET, PLAIN)
    assert bench.after(600) == []


async def test_blocked_multicast_explains_that_nobody_comes_and_its_end_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[Blocked, ...]] = [(Blocked("eth0"),), (Blocked("eth0"),), ()]

    async def tried(_: Links) -> tuple[Blocked, ...]:
        await asyncio.sleep(0)
        return found.pop(0)

    monkeypatch.setattr(multicast, "blocked", tried)
    for _ in range(2):
        await bench.lookout._try(HERE)
    bench.lookout._tried.set()
    assert (await bench.lookout.hindrance()).startswith("Other machines cannot be found from here: multicast (UDP 5353)")
    bench.lookout.probed(TARGET, KNOWN)
    assert bench.after(UNVISITED_SECONDS) == ["multicast.blocked"]
    await bench.lookout._try(HERE)
    assert [each.getMessage() for each in bench.caplog.records] == ["multicast.blocked", "multicast.open"]
    assert (bench.opened, await bench.lookout.hindrance()) == (1, "")


def test_what_is_blocked_where() -> None:
    assert describe([Blocked("eth0"), Blocked("eth1", "Operation not permitted"), Blocked("eth2")]) == (
        "multicast (UDP 5353) cannot be sent on eth1 (Operation not permitted); "
        "multicast (UDP 5353) does not come in on eth0, eth2, a firewall rule of this machine"
    )
    assert set(lookout.FIREWALLS_UDP) == set(lookout.FIREWALLS_TCP) == {"ufw", "firewalld", "nftables"}
