"""What the web page costs a browser at 10,000 Nodes: first paint, a change, scrolling, long tasks and memory under churn.

A headless Chromium without a graphics card draws with the processor, which says more about frames than a person's browser will.
So frames are told beside those of the same page standing still. A short run has fewer Nodes and less churn; `--churn` says how
many seconds of it there are. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/page.py [--quick] [--churn SECONDS]
"""

import asyncio
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.discovery_scene import Shelf
from benchmarks.figures import Figure, median, percentile, tell
from benchmarks.scene import churn_seconds, is_quick
from k3.core.limits import EVENTS_PER_NODE
from k3.core.objects import NODE, Key
from tests.page.browser import Tab, chromium
from tests.page.machines import crowd, event, machine, stamp
from tests.server.running import server_process

NODES: Final = 1_000 if is_quick() else 10_000
ROUNDS: Final = 3 if is_quick() else 5
CHANGES: Final = 10 if is_quick() else 30
FRAMES: Final = 240
PIXELS: Final = 120
"""Scrolled in each frame: three rows, which is faster than anybody reads."""
CHURN_SECONDS: Final = churn_seconds(20.0 if is_quick() else 300.0)
RATES: Final = (50, 200)
"""Changes a second. At 10,000 Nodes with the default time to live, agents refresh 333 a second."""
RATE_SECONDS: Final = 5.0 if is_quick() else 15.0
CHURN_PAUSE_SECONDS: Final = 0.01
MOST_AT_ONCE: Final = 32
DROPPED_MS: Final = 34.0
"""A frame that took more than two sixtieths of a second: one was not drawn."""
MERGE: Final = "application/merge-patch+json"

SPY: Final = """
window.spy = { long: 0 };
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) spy.long += duration;
}).observe({ type: 'longtask' });
new MutationObserver(() => {
  if (!spy.first && document.querySelector('.rows .row')) {
    spy.first = -1;
    requestAnimationFrame(() => setTimeout(() => spy.first = performance.now()));
  }
  if (!spy.whole && document.getElementById('table')?.getAttribute('aria-rowcount') == 'COUNT') {
    spy.whole = -1;
    requestAnimationFrame(() => setTimeout(() => spy.whole = performance.now()));
  }
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
CHANGE: Final = """(async () => {
  const row = document.querySelector('.rows .row:not([hidden])');
  const name = row.querySelector('.cell.name').innerText, word = row.querySelector('.word');
  const seen = new Promise((resolve) => new MutationObserver((_, watcher) => {
    watcher.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
  }).observe(word, { subtree: true, characterData: true, childList: true }));
  const began = performance.now();
  const body = JSON.stringify({ spec: { unschedulable: !word.innerText.includes('cordoned') } });
  await fetch(`/api/v1/nodes/${name}`, { method: 'PATCH', headers: { 'Content-Type': 'MERGE' }, body });
  const answered = performance.now();
  return [await seen - began, answered - began];
})()"""
FRAME: Final = """new Promise((done) => {
  const table = document.getElementById('table'), frames = [];
  const began = performance.now();
  let last = began;
  const step = (now) => {
    frames.push(now - last);
    last = now;
    table.scrollTop += PIXELS;
    if (frames.length > COUNT || now - began > 20000) done(frames.slice(1));
    else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one page has shown."""

    first_ms: list[float]
    whole_ms: list[float]
    loaded_bytes: int
    changes: list[tuple[float, float]]
    scrolled: list[float]
    still: list[float]
    long_percent: list[float]
    """Of the time with so many changes a second as `RATES` says, how much was spent in tasks of more than 50 ms."""
    kept: list["Kept"]
    churned: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What a page keeps, after its garbage has been collected."""

    heap_mb: float
    elements: float
    listeners: float


async def measure(place: Path) -> Seen:
    """Returns what a page shows of a server over a store in a folder."""
    url = f"sqlite://{place}/k3.db"
    async with Shelf(url, place).open() as store:
        for node in crowd(NODES):
            await store.create(Key(NODE, node["metadata"]["name"]), node)
    with server_process(url) as server:
        async with chromium() as browser, browser.tab() as tab, aiohttp.ClientSession(server.endpoint) as session:
            await tab.call("Page.addScriptToEvaluateOnNewDocument", source=SPY.replace("COUNT", str(NODES + 1)))
            paints = [await _painted(tab, server.endpoint) for _ in range(ROUNDS)]
            loaded = sum(each["bytes"] for each in tab.requests.values() if "/api/" not in each["url"])
            changes = [await tab.value(CHANGE.replace("MERGE", MERGE)) for _ in range(CHANGES)]
            scrolled, still = [await _frames(tab, pixels) for pixels in (PIXELS, 0)]
            await tab.value("document.getElementById('table').scrollTop = 0")
            long_percent = [await _long_percent(tab, session, rate) for rate in RATES]
            kept = [await _kept(tab)]
            churned = 0
            for _ in range(4):
                churned += await _churn(session, CHURN_SECONDS / 4)
                kept.append(await _kept(tab))
    first, whole = zip(*paints, strict=True)
    return Seen(
        first_ms=list(first),
        whole_ms=list(whole),
        loaded_bytes=loaded,
        changes=changes,
        scrolled=scrolled,
        still=still,
        long_percent=long_percent,
        kept=kept,
        churned=churned,
    )


async def _painted(tab: Tab, url: str) -> tuple[float, float]:
    await tab.call("Network.clearBrowserCache")
    tab.requests.clear()
    await tab.open(url + "/")
    await tab.until("spy.whole > 0 && document.body.dataset.standing === 'live'", 120)
    found = await tab.value("[spy.first, spy.whole]")
    return found[0], found[1]


async def _frames(tab: Tab, pixels: int) -> list[float]:
    return list(await tab.value(FRAME.replace("PIXELS", str(pixels)).replace("COUNT", str(FRAMES))))


async def _churn(session: aiohttp.ClientSession, seconds: float) -> int:
    """Makes one change after another. Returns how many."""
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        await _change(session, count)
        count += 1
        await asyncio.sleep(CHURN_PAUSE_SECONDS)
    return count


async def _change(session: aiohttp.ClientSession, count: int) -> None:
    """Refreshes a machine; one in ten is taken away and brought back, one in ten has its state changed, with an Event."""
    name = f"web{count % NODES}"
    patch = {"metadata": {"annotations": {"k3.network/lastSeen": stamp()}}}
    await _asked(session, "PATCH", f"/api/v1/nodes/{name}", patch, MERGE)
    if count % 10 == 0:
        await _asked(session, "DELETE", f"/api/v1/nodes/{name}", None, MERGE)
        await _asked(session, "POST", "/api/v1/nodes", machine(name), "application/json")
    if count % 10 == 5:
        is_down = count // NODES % 2 == 0
        status = machine(name, ready="False" if is_down else "True", age=0)["status"]
        await _asked(session, "PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, MERGE)
        told = event(name, count // NODES % EVENTS_PER_NODE, "NodeNotReady" if is_down else "NodeReady", ago=0)
        await _asked(session, "POST", "/api/v1/namespaces/default/events", told, "application/json")


async def _long_percent(tab: Tab, session: aiohttp.ClientSession, rate: int) -> float:
    """Returns how much of the time the page spends in tasks of more than 50 ms while so many changes a second are asked for."""
    await tab.value("spy.long = 0")
    began, count = time.monotonic(), 0
    while (gone := time.monotonic() - began) < RATE_SECONDS:
        due = min(int(gone * rate) - count, MOST_AT_ONCE)
        await asyncio.gather(*(_change(session, count + number) for number in range(due)))
        count += due
        await asyncio.sleep(CHURN_PAUSE_SECONDS)
    return float(await tab.value("spy.long")) / (time.monotonic() - began) / 10


async def _asked(session: aiohttp.ClientSession, method: str, path: str, body: Any, media_type: str) -> None:  # noqa: ANN401
    data = None if body is None else json.dumps(body)
    async with session.request(method, path, data=data, headers={"Content-Type": media_type}) as answer:
        await answer.read()


async def _kept(tab: Tab) -> Kept:
    for _ in range(2):
        await tab.call("HeapProfiler.collectGarbage")
    await tab.call("Performance.enable")
    found = {each["name"]: each["value"] for each in (await tab.call("Performance.getMetrics"))["metrics"]}
    return Kept(found["JSHeapUsedSize"] / 1e6, found["Nodes"], found["JSEventListeners"])


def figures(seen: Seen) -> list[Figure]:
    """Returns the figures."""
    visible, answered = zip(*seen.changes, strict=True)
    dropped, dropped_still = (100 * sum(each > DROPPED_MS for each in some) / len(some) for some in (seen.scrolled, seen.still))
    _, early, *_, last = seen.kept
    return [
        Figure(f"first rows at {NODES:,} Nodes", median(seen.first_ms), "ms", high=1_000, remark="an empty cache"),
        Figure(f"all of {NODES:,} Nodes counted", median(seen.whole_ms), "ms"),
        Figure("bytes loaded without data", seen.loaded_bytes / 1e3, "kB", high=150),
        Figure("a change is visible, half of them", median(visible), "ms", None, 200, "its answer", median(answered)),
        Figure("a change is visible, 95 %", percentile(visible, 95), "ms", None, 200, "its answer", percentile(answered, 95)),
        Figure("frames dropped while scrolling", dropped, "%", None, None, "standing still", dropped_still),
        *(
            Figure(f"time in tasks over 50 ms, {rate} changes a second", percent, "%")
            for rate, percent in zip(RATES, seen.long_percent, strict=True)
        ),
        Figure("memory after the churn", last.heap_mb, "MB", None, 1.1 * early.heap_mb, "after a quarter of it", early.heap_mb),
        Figure("elements after the churn", last.elements, "", None, 1.1 * early.elements, "after a quarter", early.elements),
        Figure(
            "listeners after the churn", last.listeners, "", None, 1.1 * early.listeners, "after a quarter", early.listeners
        ),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="k3-bench-", dir="/var/tmp") as place:
        seen = asyncio.run(measure(Path(place)))
    tell(
        figures(seen),
        nodes=NODES,
        kept=[asdict(each) for each in seen.kept],
        churned=seen.churned,
        scrolled_ms=percentile(seen.scrolled, 95),
    )


if __name__ == "__main__":
    main()
