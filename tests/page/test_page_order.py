"""The order in which machines are shown, kept up to date change by change, beside all of them put in order anew."""

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from tests.page.machines import event, machine
from tests.page.stage import Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]

_MADE: Final = """
    let seed = 1;
    const any = (count) => (seed = (seed * 48271) % 2147483647) % count;
    const KINDS = ["ready", "ready", "notready", "unknown", "suspect"];
    const made = (name) => ({
      name, nameKey: name.replace(/\\d+/g, (digits) => digits.padStart(12, "0")), words: name,
      state: { kind: KINDS[any(5)], label: "x", isCordoned: any(9) === 0 },
      lastSeen: any(3) ? any(50) : NaN, created: any(3) ? any(50) : NaN, addressKey: any(3) ? `10.${any(9)}` : "",
      sourceName: any(2) ? "network" : "controller", zone: any(3) ? `rack${any(4)}` : "",
      labels: any(2) ? { gpu: String(any(3)) } : { old: "" },
    });
"""
_SAME: Final = f"""(() => {{
    {_MADE}
    const text = (some) => JSON.stringify(some.map((each) => each.name ?? each));
    const wanted = {{ words: "", kind: "", ...choice, selects: (labels) => !labels.gpu || labels.gpu !== "2" }};
    const all = new Map(Array.from({{ length: 150 }}, (_, at) => [`web${{at}}`, made(`web${{at}}`)]));
    all.set("web007", made("web007"));
    const order = new m.Order([...all.values()], wanted);
    for (let change = 0; change < 400; change += 1) {{
      const name = `web${{any(170)}}`;
      if (any(4)) all.set(name, made(name));
      else all.delete(name);
      order.put(name, all.get(name));
      if (change % 20) continue;
      const anew = new m.Order([...all.values()], wanted);
      const items = order.items();
      if (text(items) !== text(anew.items())) return `the order after ${{change}}: ${{text(items)}}`;
      if (text([order.counts, order.labelKeys]) !== text([anew.counts, anew.labelKeys])) return `the counts after ${{change}}`;
      const places = new Map(items.map((each, place) => [each.name, place]));
      for (const each of all.keys()) if (order.placeOf(each) !== places.get(each)) return `the place of ${{each}}`;
    }}
    return order.placeOf("nosuch") === undefined ? "the same" : "a place of what is not there";
}})()"""
_COST: Final = f"""(() => {{
    {_MADE}
    let asked = 0;
    const state = {{ value: {{ kind: "ready" }} }};
    const counting = (name) => Object.create(made(name), {{ nameKey: {{ get: () => (asked += 1, name) }}, state }});
    const all = Array.from({{ length: 10000 }}, (_, at) => counting(`web${{at}}`));
    const order = new m.Order(all, {{ words: "", kind: "", sort: "name", group: "", selects: () => true }});
    asked = 0;
    for (let at = 0; at < 100; at += 1) order.put(`web${{at * 97}}`, counting(`web${{at * 97}}`));
    return asked / 100;
}})()"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with staged() as opened:
        yield opened


@pytest.mark.parametrize("sort", ["name", "state", "seen", "address", "source", "age"])
@pytest.mark.parametrize("rest", [{}, {"isDown": True}, {"group": "zone"}, {"group": "label:gpu", "kind": "ready"}], ids=str)
async def test_what_has_changed_is_where_it_would_be_if_all_were_put_in_order(
    stage: Stage, sort: str, rest: dict[str, object]
) -> None:
    choice = {"sort": sort, "isDown": False, "group": "", **rest}
    assert await stage.of("order", _SAME, choice=choice) == "the same"


async def test_a_change_among_ten_thousand_costs_a_search(stage: Stage) -> None:
    assert await stage.of("order", _COST) < 100


async def test_what_was_written_since_is_asked_for_and_not_all_events_again(stage: Stage) -> None:
    """Twenty machines go down: their history shows it, and the Events were listed once."""
    names = [f"web{number}" for number in range(20)]
    for name in names:
        await _asked(stage, "POST", "/api/v1/nodes", machine(name))
    await stage.tab.open(stage.server.url + "/")
    listed = "performance.getEntriesByType('resource').filter(({ name }) => /events[?](?!.*watch)/.test(name)).length"
    bars = "[...document.querySelectorAll('.rows .row:not([hidden]) .bar24')]"
    await stage.tab.until(f"{listed} === 1 && {bars}.length === 20")
    for name in names:
        for number, (reason, ago) in enumerate((("Registered", 86_400), ("NodeNotReady", 43_200)), 1):
            await _asked(stage, "POST", "/api/v1/namespaces/default/events", event(name, number, reason, ago=ago))
        await _asked(
            stage, "PATCH", f"/api/v1/nodes/{name}/status", {"status": machine(name, ready="False", age=43_200)["status"]}
        )
    await stage.tab.until(f"{bars}.every((each) => /^Ready for (49|50)/.test(each.title))")
    assert await stage.tab.value(listed) == 1
    assert stage.tab.complaints == []


async def _asked(stage: Stage, method: str, path: str, body: object) -> None:
    media_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    code, found = await stage.server.ask(method, path, body, content_type=media_type)
    assert code in {200, 201}, found
