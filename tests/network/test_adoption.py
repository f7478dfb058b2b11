"""A Node that discovery has given up, as the state machine sees it: whom it asks, when, and what it reports."""

from dataclasses import replace

import pytest

from k3.core.node import Condition, NodeView
from k3.core.observation import Alive, Evidence, Joined
from k3.core.ownership import ADOPTION_SECONDS
from k3.core.sources import DISCOVERY
from k3.network.events import NodeGone, NodeShown, SelfProven, StartProbe, StoreLost, Synced
from k3.network.messages import Endpoint, Refused, Target, Withdrawal
from k3.network.peers.foreign import AGAIN_SECONDS
from k3.network.peers.peer import NEVER
from tests.network.test_peers import LINK, ME, WEB, Bench, answer, heard

READY = Condition(type="Ready", status="True")
GIVEN_UP = NodeView(
    name="web",
    owner="discovery",
    ready=None,
    reachable=None,
    addresses=WEB.addresses,
    id=WEB.id,
    boot="",
    agent="",
    links=(),
    last_seen="2026-11-23T08:00:00.000Z",
    seen_by="",
    seen_run="",
    port=WEB.port,
    pid=0,
    peer_ttl_seconds=0.0,
    annotations={},
)
CONTROLLERS = replace(GIVEN_UP, owner=None)
OURS = replace(GIVEN_UP, name="me", id=ME.id)
OBSERVER = replace(GIVEN_UP, name="hub", owner="network", id="5" * 32, agent="hub.1", links=(LINK,))


def adoptions(bench: Bench) -> list[tuple[float, Evidence | None]]:
    return [(at, seen.adopts) for at, seen in bench.said(Alive) if isinstance(seen, Alive)]


def test_a_machine_that_is_announced_and_answers_is_adopted_when_its_time_is_up() -> None:
    bench = Bench()
    bench.give(NodeShown(GIVEN_UP))
    bench.give(heard(WEB))
    start = bench.now
    bench.run(ADOPTION_SECONDS - 0.1, {"web": answer(WEB)}, writing=False)
    assert not bench.asked("web")
    bench.run(1, {"web": answer(WEB)}, writing=False)
    assert adoptions(bench) == [(start + ADOPTION_SECONDS, GIVEN_UP.evidence)]
    targets = [action.target for _, action in bench.log if isinstance(action, StartProbe)]
    assert targets == [Target("web", ((Endpoint("10.0.0.2", 7946),),), WEB.id)]


def test_a_node_that_nobody_refreshes_any_more_is_adopted_too() -> None:
    bench, kept = Bench(), replace(GIVEN_UP, ready=READY)
    bench.give(NodeShown(kept))
    bench.give(heard(WEB))
    bench.run(700, {"web": answer(WEB)}, writing=False)
    bench.give(NodeShown(replace(kept, last_seen="2026-11-23T08:05:00.000Z")))
    start = bench.now
    bench.run(2 * DISCOVERY.refresh_seconds + ADOPTION_SECONDS + 1, {"web": answer(WEB)}, writing=False)
    assert [at for at, _ in adoptions(bench)] == [start + 2 * DISCOVERY.refresh_seconds + ADOPTION_SECONDS]


def test_silence_adopts_nothing_and_it_is_asked_again_after_a_while() -> None:
    bench = Bench()
    bench.give(heard(WEB))
    bench.give(NodeShown(GIVEN_UP))  # announced before the store shows whose it is
    start = bench.now
    bench.run(ADOPTION_SECONDS + 2.5 * AGAIN_SECONDS, {"web": Refused()}, writing=False)
    asked = [at for at in bench.asked("web") if at > start]
    assert asked == [start + ADOPTION_SECONDS + turn * AGAIN_SECONDS for turn in range(3)]
    assert not adoptions(bench)


def test_what_is_not_announced_is_not_asked() -> None:
    """A machine that runs no `k3 network` answers at its health port too, and is not network's to look after."""
    for announcement in (None, heard(replace(WEB, id="7" * 32))):
        bench = Bench()
        bench.give(NodeShown(GIVEN_UP))
        if announcement is not None:
            bench.give(announcement)
        bench.run(2 * ADOPTION_SECONDS, {"web": answer(WEB)}, writing=False)
        assert not bench.asked("web")


def test_a_goodbye_ends_it() -> None:
    bench = Bench()
    bench.give(NodeShown(GIVEN_UP))
    bench.give(heard(WEB))
    bench.give(Withdrawal(heard(WEB).instance))
    bench.run(2 * ADOPTION_SECONDS, {"web": answer(WEB)}, writing=False)
    assert not bench.asked("web")


@pytest.mark.parametrize("shown", [CONTROLLERS, replace(GIVEN_UP, id="")])
def test_a_controllers_node_is_nobody_s_to_adopt(shown: NodeView) -> None:
    bench = Bench()
    bench.give(NodeShown(shown))
    bench.give(heard(WEB))
    bench.run(2 * ADOPTION_SECONDS, {"web": answer(WEB)}, writing=False)
    assert not bench.asked("web")


def test_its_time_begins_anew_when_its_owner_calls_it_ready_and_when_we_could_not_look() -> None:
    bench = Bench()
    bench.give(heard(WEB))
    bench.give(NodeShown(GIVEN_UP))
    bench.run(60, {"web": answer(WEB)}, writing=False)
    bench.give(NodeShown(replace(GIVEN_UP, ready=READY)))
    bench.give(NodeShown(GIVEN_UP))
    bench.run(60, {"web": answer(WEB)}, writing=False)
    bench.give(StoreLost())
    bench.run(ADOPTION_SECONDS, {"web": answer(WEB)}, writing=False)
    bench.give(Synced((GIVEN_UP,)))
    start = bench.now
    bench.run(ADOPTION_SECONDS + 1, {"web": answer(WEB)}, writing=False)
    assert [at for at, _ in adoptions(bench)] == [start + ADOPTION_SECONDS]


def test_only_the_first_ranks_ask() -> None:
    hubs = [replace(OBSERVER, name=f"hub{n}", id=f"{n:032x}", ready=READY) for n in range(20)]
    bench = Bench()
    bench.give(Synced((GIVEN_UP, *hubs)))
    bench.give(heard(WEB))
    bench.run(ADOPTION_SECONDS + 5, {"web": answer(WEB)}, writing=False)
    assert not bench.asked("web")  # our own Node is not there: others come first


def test_our_own_node_is_adopted_by_ourselves_only_where_nobody_else_looks_after_us() -> None:
    hub = replace(ME, node="hub", id="5" * 32, addresses=("10.0.0.5",), boot="hub.1")
    shown = replace(OBSERVER, addresses=hub.addresses, ready=READY)
    # Who is never reached is somewhere else, whatever its prefix.
    for others, answers, expected in (((), {}, 1), ((shown,), {"hub": answer(hub)}, 0), ((shown,), {}, 1)):
        bench = Bench()
        bench.give(SelfProven(ME))
        bench.give(Synced((OURS, *others)))
        before = len(bench.said(Joined))
        bench.run(ADOPTION_SECONDS + 1, answers, writing=False)
        said = [seen for _, seen in bench.said(Joined)[before:]]
        assert len(said) == expected
        assert all(isinstance(seen, Joined) and seen.adopts == OURS.evidence for seen in said)


def test_a_name_that_is_free_again_is_met_at_once_by_what_is_announced_under_it() -> None:
    bench = Bench()
    bench.give(NodeShown(CONTROLLERS))
    bench.give(heard(WEB))
    assert not bench.probes
    bench.give(NodeGone("web"))
    bench.run(0.1, {"web": answer(WEB)})
    assert bench.seen("web").is_ready


def test_nothing_waits_for_a_time_that_never_comes() -> None:
    bench = Bench()
    bench.give(NodeShown(CONTROLLERS))
    bench.give(heard(WEB))
    assert bench.table.deadline == NEVER
