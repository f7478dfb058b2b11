"""What the web page costs a browser at 10,000 Nodes: first paint, a change, scrolling, and memory while machines come and go.

A headless Chromium without a graphics card draws with the processor, which says more about frames than a person's browser will.
So frames are told beside those of the same page standing still. A short run has fewer Nodes and less churn. Prints one JSON
object.

PYTHONPATH=src:. python benchmarks/page.py [--quick]
"""

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.discovery_scene import Shelf
from benchmarks.figures import Figure, median, percentile, tell
from benchmarks.scene import is_quick
from k3.core.objects import NODE, Key
from tests.page.browser import Tab, chromium
from tests.page.machines import crowd, stamp
from tests.server.running import server_process

NODES: Final = 1_000 if is_quick() else 10_000
ROUNDS: Final = 3 if is_quick() else 5
CHANGES: Final = 10 if is_quick() else 30
FRAMES: Final = 240
PIXELS: Final = 120
"""Scrolled in each frame: three rows, which is faster than anybody reads."""
CHURN_SECONDS: Final = 20.0 if is_quick() else 300.0
CHURN_PAUSE_SECONDS: Final = 0.01
DROPPED_MS: Final = 34.0
"""A frame that took more than two sixtieths of a second: one was not drawn."""
MERGE: Final = "application/merge-patch+json"

SPY: Final = """
window.spy = {};
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
    heaps: list[float]
    churned: int


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
            heaps = [await _heap(tab)]
            churned = 0
            for _ in range(4):
                churned += await _churn(session, CHURN_SECONDS / 4)
                heaps.append(await _heap(tab))
    first, whole = zip(*paints, strict=True)
    return Seen(
        first_ms=list(first),
        whole_ms=list(whole),
        loaded_bytes=loaded,
        changes=changes,
        scrolled=scrolled,
        still=still,
        heaps=heaps,
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
    """Refreshes one machine after another, takes some away and brings them back. Returns how many changes that were."""
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        name = f"web{count % NODES}"
        patch = {"metadata": {"annotations": {"k3.network/lastSeen": stamp()}}}
        await _asked(session, "PATCH", f"/api/v1/nodes/{name}", patch, MERGE)
        if count % 10 == 0:
            await _asked(session, "DELETE", f"/api/v1/nodes/{name}", None, MERGE)
            node = next(each for each in crowd(1))
            node["metadata"]["name"] = name
            await _asked(session, "POST", "/api/v1/nodes", node, "application/json")
        count += 1
        await asyncio.sleep(CHURN_PAUSE_SECONDS)
    return count


async def _asked(session: aiohttp.ClientSession, method: str, path: str, body: Any, media_type: str) -> None:  # noqa: ANN401
    data = None if body is None else json.dumps(body)
    async with session.request(method, path, data=data, headers={"Content-Type": media_type}) as answer:
        await answer.read()


async def _heap(tab: Tab) -> float:
    """Returns what the page keeps, in MB."""
    for _ in range(2):
        await tab.call("HeapProfiler.collectGarbage")
    return float((await tab.call("Runtime.getHeapUsage"))["usedSize"]) / 1e6


def figures(seen: Seen) -> list[Figure]:
    """Returns the figures."""
    visible, answered = zip(*seen.changes, strict=True)
    dropped, dropped_still = (100 * sum(each > DROPPED_MS for each in some) / len(some) for some in (seen.scrolled, seen.still))
    return [
        Figure(f"first rows at {NODES:,} Nodes", median(seen.first_ms), "ms", high=1_000, remark="an empty cache"),
        Figure(f"all of {NODES:,} Nodes counted", median(seen.whole_ms), "ms"),
        Figure("bytes loaded without data", seen.loaded_bytes / 1e3, "kB", high=150),
        Figure("a change is visible, half of them", median(visible), "ms", None, 200, "its answer", median(answered)),
        Figure("a change is visible, 95 %", percentile(visible, 95), "ms", None, 200, "its answer", percentile(answered, 95)),
        Figure("frames dropped while scrolling", dropped, "%", None, None, "standing still", dropped_still),
        Figure(
            "memory after the churn", seen.heaps[-1], "MB", None, 1.1 * seen.heaps[1], "after a quarter of it", seen.heaps[1]
        ),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="k3-bench-", dir="/var/tmp") as place:
        seen = asyncio.run(measure(Path(place)))
    tell(figures(seen), nodes=NODES, heaps_mb=seen.heaps, churned=seen.churned, scrolled_ms=percentile(seen.scrolled, 95))


if __name__ == "__main__":
    main()
