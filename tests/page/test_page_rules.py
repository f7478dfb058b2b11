"""What the page works out itself is what the rest of k3 works out: both are asked about the same Nodes and texts."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio

from k3.core import name_rules, times
from k3.core import node as nodes
from k3.core.errors import Invalid
from k3.core.objects import Manifest, copied
from k3.core.safe_text import printable
from k3.server.patching.merge_patch import patched
from k3.view import node_table, words
from k3.view.cells import Moment, human_duration
from k3.view.selector import parse_selector
from tests.page.machines import machine, of_a_controller, with_condition
from tests.page.stage import Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]

_LABELS: Final[list[dict[str, str]]] = [
    {},
    {"app": "web"},
    {"app": "db", "gpu": ""},
    {"a.b/c": "1", "app": "web", "old": "true"},
]
_SELECTORS: Final = (
    "",
    " ",
    "app",
    "!app",
    "! gpu",
    "app=web",
    "app==web",
    "app!=web",
    "app in (web,db)",
    "app notin (web)",
    "app in ()",
    "gpu=",
    "a.b/c=1,app",
    "app=web,!old",
    "app,",
    ",",
    "=x",
    "app in web",
    "app=a b",
    "app in (web",
    "A.b/c",
    "app=" + "x" * 64,
    "constructor",
    "ä=1",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with staged() as opened:
        yield opened


def _odd() -> list[Any]:
    """Returns Nodes of which something is odd: reading them never fails."""
    found: list[Any] = [{}, {"metadata": None}, {"metadata": {"labels": [1]}}, {"status": {"conditions": {"type": "Ready"}}}]
    managed, agent = "k3.network/managed", "k3.network/"
    twice = [*machine("web1")["status"]["conditions"], {"type": "Ready", "status": "False", "reason": "PeerLeft"}]
    merges: list[Manifest] = [
        {"status": {"conditions": [1, None, {"type": "Ready"}]}},
        {"status": {"conditions": twice}},
        {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": 5, "message": None}]}},
        {"metadata": {"annotations": {f"{agent}lastSeen": "yesterday"}}},
        {"metadata": {"annotations": {f"{agent}peer-ttl": "1h2m3.5s"}}},
        {"metadata": {"annotations": {f"{agent}peer-ttl": "-5s"}}},
        {"metadata": {"annotations": {f"{agent}lastSeen": None}}},
        {"metadata": {"labels": {managed: "no", "k3.discovery/managed": "true"}}},
        {"status": {"nodeInfo": {"kubeletVersion": "v1"}}},
        {"spec": {"unschedulable": True}},
        {"spec": {"unschedulable": "yes"}},
    ]
    found += [patched(machine("web1"), each) for each in merges]
    return found


def _nodes() -> list[Manifest]:
    plain = [machine("web1", ready=ready, seen=seen) for ready in ("True", "False", "Unknown") for seen in (3, 400, -30)]
    mute = [with_condition(copied(each), "k3.network/Reachable", "False", "NoAnswer", "two failures") for each in plain]
    clones = [with_condition(copied(each), "k3.network/Cloned", "True", "Clone", "of web2") for each in plain]
    broken = {"metadata": {"name": "x"}} | {
        "status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Unreadable", "message": "no JSON"}]}
    }
    return [*plain, *mute, *clones, of_a_controller("k3s"), of_a_controller("k3s", ready="Unknown"), broken, *_odd()]


async def test_a_state_is_read_as_everywhere_else(stage: Stage) -> None:
    now = datetime.now(UTC)
    expression = """nodes.map((node) => [true, false].map((isObserved) => {
        const state = m.state(node, isObserved), source = m.owner(node), seen = m.lastSeen(node, source);
        return [state.word, state.remark, state.reason, state.message, state.since, source?.name ?? null,
                Number.isNaN(seen) ? null : seen, Math.min(1e12, m.unobservedMs(node, source))];
    }))"""
    asked = _nodes()
    found = await stage.of("states", expression, nodes=asked)
    for node, answers in zip(asked, found, strict=True):
        for is_observed, answer in zip((True, False), answers, strict=True):
            reading = node_table.read(node, Moment(now, is_observed))
            state, seen = reading.state, node_table.last_seen(reading)
            assert answer[:6] == [state.word, state.remark, state.reason, state.message, state.since, reading.view.owner], node
            assert (answer[6] is None) == (seen is None)
            assert seen is None or abs(answer[6] - seen.timestamp() * 1000) < 1
            assert answer[7] == min(1e12, 1000 * nodes.unobserved_seconds(reading.view))


async def test_a_label_selector_means_the_same(stage: Stage) -> None:
    expression = """texts.map((text) => {
        const selects = m.parseSelector(text);
        return selects === null ? null : labels.map((each) => selects(each));
    })"""
    found = await stage.of("selector", expression, texts=_SELECTORS, labels=_LABELS)
    for text, answer in zip(_SELECTORS, found, strict=True):
        try:
            selector = parse_selector(text)
        except Invalid:
            assert answer is None, text
        else:
            assert answer == [selector.matches(each) for each in _LABELS], text


async def test_what_a_label_may_be_is_what_kubernetes_takes(stage: Stage) -> None:
    prefixes = ("", "/", "a/", "example.com/", "A/", "a..b/", "a/b/", "-a/", f"{'a' * 253}/", f"{'a' * 254}/")
    texts = ("", "rack", "Rack_1.b-c", "a b", "-a", "a-", ".", "ä", "x" * 63, "x" * 64, "a\n")
    labels = [
        *itertools.product((prefix + text for prefix in prefixes for text in texts), ("", "1")),
        *(("a", text) for text in texts),
    ]
    found = await stage.of("selector", "labels.map(([key, value]) => m.oddPart(key, value))", labels=labels)
    assert set(found) == {"", *words.LABELS}
    for (key, value), odd in zip(labels, found, strict=True):
        wanted = "key" if name_rules.label_key(key) else "value" if name_rules.label_value(value) else ""
        assert odd == wanted, (key, value)


async def test_lengths_and_points_of_time_are_written_and_read_alike(stage: Stage) -> None:
    sizes = (0, 1, 59, 119, 120, 125, 599, 600, 10_799, 10_800, 28_799, 28_800, 172_799, 172_800, 691_199, 691_200, 1e8, 1e9)
    spans = sorted({max(0, size + more) for size, more in itertools.product(sizes, (-1, 0, 0.5, 1, 61, 3_601))})
    found = await stage.of("text", "spans.map((each) => m.duration(each * 1000))", spans=spans)
    assert found == [human_duration(timedelta(seconds=each)) for each in spans]
    stamps = [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.678Z",
        "2026-01-02T03:04:05+02:00",
        "2026-01-02",
        "",
        "yesterday",
        "12",
    ]
    read = [times.parse_timestamp(each) for each in stamps]
    found = await stage.of(
        "text", "stamps.map((each) => { const t = m.time(each); return Number.isNaN(t) ? null : t })", stamps=stamps
    )
    assert found == [each and each.timestamp() * 1000 for each in read]


async def test_what_cannot_be_seen_is_written_out(stage: Stage) -> None:
    texts = [
        "plain",
        "\u202egpj",
        "a\u0000b\u0007\n\t",
        "\u200b\ufeff",
        "naïve 東京 🙂",
        "\U000e0041",
        "\u2028",
        "\ud7ff",
        "x" * 30,
    ]
    found = await stage.of("text", "texts.map((each) => m.printable(each))", texts=texts)
    for text, shown in zip(texts, found, strict=True):
        assert shown.isprintable()
        for character in text:
            assert character not in shown or character.isprintable(), repr(text)
        assert not text.isprintable() or shown == printable(text)
