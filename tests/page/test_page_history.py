"""What the page tells of a Node's past, and how a moment of it is chosen, in a browser."""

import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from k3.core.objects import EVENT, Key
from tests.page.pasts import NOW, event, machine, ready
from tests.page.stage import Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]
HOUR_MS = 3_600_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """One browser for all."""
    async with staged() as opened:
        yield opened


def ago(hours: float) -> datetime:
    """So long before the moment of these tests."""
    return NOW - timedelta(hours=hours)


def ms(at: datetime) -> int:
    """A moment as JavaScript has it."""
    return int(at.timestamp() * 1000)


async def spans(
    stage: Stage, node: dict[str, Any], *events: dict[str, Any], lost: float | None = None
) -> list[tuple[float, str]]:
    """Returns what is known: how many hours ago each state began, and the state."""
    lost_at = None if lost is None else ms(ago(lost))
    found = await stage.of(
        "history", "m.intervals(node, events, now, lostAt)", node=node, events=events, now=ms(NOW), lostAt=lost_at
    )
    for former, latter in itertools.pairwise(found):
        assert former["to"] == latter["from"]
        assert former["state"] != latter["state"]
    assert not found or found[-1]["to"] == ms(NOW)
    return [(round((ms(NOW) - each["from"]) / HOUR_MS, 2), each["state"]) for each in found]


def web(status: str, since: float, **more: Any) -> dict[str, Any]:
    """A Node whose Ready has been so for so many hours."""
    return machine("web", ready(status, ago(since)), **more)


async def test_events_and_the_condition_make_the_past(stage: Stage) -> None:
    """Each change is an Event, and the condition says what is so now."""
    told = [
        event("web", 1, "Registered", ago(4)),
        event("web", 2, "NodeNotReady", ago(3)),
        event("web", 3, "NodeReady", ago(2)),
    ]
    assert await spans(stage, web("True", 2), *told) == [(4, "ready"), (3, "notready"), (2, "ready")]
    unordered = [told[2], event("web", 4, "AddressChanged", ago(1)), told[0], told[1]]
    assert await spans(stage, web("True", 2), *unordered) == [(4, "ready"), (3, "notready"), (2, "ready")]
    assert await spans(stage, web("Unknown", 1), *told) == [(4, "ready"), (3, "notready"), (2, "ready"), (1, "unknown")]


async def test_what_is_not_known_is_not_told(stage: Stage) -> None:
    """Without Events the past begins with the condition; without that, nothing is known."""
    assert await spans(stage, web("False", 1)) == [(1, "notready")]
    assert await spans(stage, {}) == []
    assert await spans(stage, {"metadata": {"name": "web"}, "status": {"conditions": "odd"}}, {}, {"reason": 7}) == []
    assert await stage.of("history", "[m.uptime([], 0, 1), m.stateAt([], 1), m.bars([], 0, 1, 2)]") == [
        None,
        "none",
        ["none", "none"],
    ]


async def test_the_newest_64_events_are_kept(stage: Stage) -> None:
    """Their names are used in turn, so number 65 stands under the name of number 1: their order is that of the revisions."""
    told = [event("web", n, "NodeReady" if n % 2 else "NodeNotReady", ago(80 - n)) for n in range(7, 71)]
    found = await spans(stage, web("False", 10), *sorted(told, key=lambda each: str(each["metadata"]["name"])))
    assert len(found) == 64
    assert (found[0], found[-1]) == ((73, "ready"), (10, "notready"))


async def test_a_wrong_clock_breaks_nothing(stage: Stage) -> None:
    """What a wrong clock told happened at a time that is not known; what others told stays."""
    first, last = event("web", 1, "Registered", ago(4)), event("web", 3, "NodeReady", ago(2))
    for wrong in (-1000, 200_000):
        told = [first, event("web", 2, "NodeNotReady", ago(wrong)), last]
        assert await spans(stage, web("True", 2), *told) == [(2, "ready")], wrong
    ahead = [event("web", n, "NodeReady" if n % 2 else "NodeNotReady", ago(-5)) for n in (1, 2, 3)]
    assert await spans(stage, web("True", -5), *ahead) == [(0, "ready")]
    assert await spans(stage, web("False", -5), first) == [(4, "notready")]


async def test_the_state_that_an_event_leaves_open_follows_from_the_next(stage: Stage) -> None:
    """Discovery registers what is not well, too; k3 tells of changes only."""

    def found(number: int, hours: float) -> dict[str, Any]:
        return event("web", number, "Registered", ago(hours), reporter="k3-discovery")

    assert await spans(stage, web("True", 3), found(1, 4), event("web", 2, "NodeReady", ago(3))) == [
        (4, "unknown"),
        (3, "ready"),
    ]
    assert await spans(stage, web("False", 3), found(1, 4), event("web", 2, "NodeNotReady", ago(3))) == [
        (4, "ready"),
        (3, "notready"),
    ]
    assert await spans(stage, web("False", 4), found(1, 4)) == [(4, "notready")]
    told = [event("web", 1, "NodeNotReady", ago(4)), event("web", 2, "IdentityChanged", ago(2))]
    assert await spans(stage, web("True", 2), *told) == [(4, "notready"), (2, "ready")]


async def test_an_earlier_node_of_the_name_is_another_ones_past(stage: Stage) -> None:
    """When it was deleted nobody wrote down."""
    told = [
        event("web", 1, "Registered", ago(9), uid="old", revision=1),
        event("web", 2, "NodeNotReady", ago(8), uid="old", revision=2),
        event("web", 1, "Registered", ago(2), uid="new", revision=9),
    ]
    node = web("True", 2)
    node["metadata"]["uid"] = "new"
    assert await spans(stage, node, *told[1:]) == [(2, "ready")]
    assert await spans(stage, node, *told) == [(9, "ready"), (8, "none"), (2, "ready")]


async def test_a_node_that_no_agent_looks_after_is_unknown_since_then(stage: Stage) -> None:
    """What is stored as Ready was so until it was last refreshed."""
    told = event("web", 1, "Registered", ago(4))
    assert await spans(stage, web("True", 4), told, lost=1) == [(4, "ready"), (1, "unknown")]
    assert await spans(stage, web("False", 2), told, lost=1) == [(4, "ready"), (2, "notready")]


async def test_events_that_count_are_two_moments(stage: Stage) -> None:
    """Kubernetes' own recorders write one Event for several of a kind."""
    many = {**event("web", 1, "NodeReady", ago(3)), "count": 5, "lastTimestamp": "2026-11-27T11:00:00Z"}
    assert await spans(stage, web("True", 3), many) == [(3, "ready")]


async def test_uptime_counts_what_is_known(stage: Stage) -> None:
    """The time before the first knowledge does not count, and is never rounded up to the whole."""
    told = [event("web", 1, "Registered", ago(4)), event("web", 2, "NodeNotReady", ago(1))]
    known = await stage.of("history", "m.intervals(node, events, now)", node=web("False", 1), events=told, now=ms(NOW))
    values = {"known": known, "now": ms(NOW)}
    assert await stage.of("history", "m.uptime(known, now - 24 * 3600000, now)", **values) == 0.75
    assert await stage.of("history", "m.uptime(known, now - 3600000, now)", **values) == 0
    assert await stage.of("history", "m.uptime(known, now - 9 * 3600000, now - 5 * 3600000)", **values) is None
    bars = await stage.of("history", "m.bars(known, now - 8 * 3600000, now, 4)", **values)
    assert bars == ["none", "none", "ready", "notready"]
    states = await stage.of("history", "[9, 3, 1, 0.5, 0, -1].map((h) => m.stateAt(known, now - h * 3600000))", **values)
    assert states == ["none", "ready", "notready", "notready", "notready", "none"]
    shown = await stage.of("sections", "[1, 0.99999, 0.9912, 0.5, 0].map(m.percent)")
    assert shown == ["100 %", "99.99 %", "99.1 %", "50 %", "0 %"]


async def test_10000_pasts_take_no_time(stage: Stage) -> None:
    """A table of 10,000 Nodes with ten Events each is worked out within a second."""
    told = [event("web", n, "NodeReady" if n % 2 else "NodeNotReady", ago(30 - n)) for n in range(1, 11)]
    script = (
        "(() => { const began = performance.now();"
        " for (let i = 0; i < 10000; i++) m.bars(m.intervals(node, told, now), now - 86400000, now, 48);"
        " return performance.now() - began; })()"
    )
    assert await stage.of("history", script, node=web("False", 20), told=told, now=ms(NOW)) < 5_000


async def test_events_of_others_are_not_read_without_end(stage: Stage) -> None:
    """Where Pods have written very many Events, those of a Node are fetched when they are wanted."""
    script = """(async () => {
        let asked = 0;
        const items = Array(1000).fill({ involvedObject: { kind: "Pod", name: "p" }, metadata: {} });
        const list = async () => ({ items, metadata: { resourceVersion: "1", continue: (asked += 1) < 100 ? "more" : "" } });
        const past = new m.Past({ list });
        await past.load();
        return [asked, past.isWhole];
    })()"""
    assert await stage.of("past", script) == [20, False]


async def test_what_happens_while_the_past_is_listed_is_known_behind_it(stage: Stage) -> None:
    """A list that takes its time knows nothing of what is written meanwhile, and must not take it away again."""

    async def told(number: int, reason: str) -> None:
        written = event("told", number, reason, ago(3 - number))
        await stage.store.create(Key(EVENT, written["metadata"]["name"], "default"), written)

    await told(1, "Registered")
    slow = """Promise.all([import("/page/api.js"), import("/page/past.js")]).then(async ([{ Api }, { Past }]) => {
        globalThis.api = new Api();
        globalThis.past = new Past(api);
        const at = (readySince) => past.show(["told"], new Map([["told", { readySince }]]));
        await past.load();
        at(1);
        const { list } = api;
        api.list = async (...asked) => {
            const found = await list.apply(api, asked);
            globalThis.isListed = true;
            await new Promise((resolve) => setTimeout(resolve, 3000));
            return found;
        };
        globalThis.loading = past.load().then(() => true);
        at(2);
    })"""
    await stage.tab.value(slow)
    await stage.tab.until("globalThis.isListed")
    await told(2, "NodeNotReady")
    assert await stage.tab.value("loading")
    await stage.tab.until("past.of('told').length === 2", 5)


async def test_a_status_that_nobody_knows_is_unknown(stage: Stage) -> None:
    """Whatever its name is in JavaScript."""
    assert await spans(stage, web("constructor", 1)) == [(1, "unknown")]


async def test_the_past_is_told_in_the_time_of_the_server(stage: Stage) -> None:
    """The reader's clock may be wrong."""
    made = (
        "new m.TimeSlider({ root: document.getElementById('time'), clock: () => Date.now() - 3600000,"
        " onchange: (when) => { globalThis.told = when; } })"
    )
    await stage.of("timeslider", f"(globalThis.ahead = {made}, 0)")
    await stage.tab.value("ahead.opener.click()")
    await stage.tab.press("ArrowLeft")
    assert 61 <= await stage.tab.until("globalThis.told && (Date.now() - told) / 60000") < 63


async def test_looking_back(stage: Stage) -> None:
    """A slider for the keyboard and a field for a date; the present is one key away, and the past says that it is."""
    made = "new m.TimeSlider({ root: document.getElementById('time'), onchange: (when) => { globalThis.when = when; } })"
    await stage.of("timeslider", f"(globalThis.when = undefined, globalThis.slider = {made}, 0)")
    await stage.tab.value("slider.opener.click()")
    assert await stage.tab.value("document.activeElement === slider.range && when === undefined")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft"):
        await stage.tab.press(key)
    assert await stage.tab.until("when && (Date.now() - when) / 60000 >= 3 && (Date.now() - when) / 60000") < 5
    said = await stage.tab.value(
        "[slider.said.textContent, slider.range.getAttribute('aria-valuetext'), slider.root.className]"
    )
    assert said[0].startswith("This is the past: the machines as they were on ")
    assert said[1] in said[0]
    assert "past" in said[2].split()
    await stage.tab.value(
        "(() => { const local = new Date(Date.now() - 3 * 86400000 - new Date().getTimezoneOffset() * 60000);"
        " slider.field.value = local.toISOString().slice(0, 16); slider.field.dispatchEvent(new Event('change')); })()"
    )
    days = await stage.tab.until("(Date.now() - when) / 86400000 > 1 && (Date.now() - when) / 86400000")
    assert 3 <= days < 3.01
    assert await stage.tab.value("slider.spans.map((each) => each.ariaPressed)") == ["false", "true", "false"]
    await stage.tab.press("Escape")
    await stage.tab.until("when === null && slider.panel.hidden && document.activeElement === slider.opener")
    assert await stage.tab.value("slider.said.textContent") == ""
