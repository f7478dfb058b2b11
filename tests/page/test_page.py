"""The page in a browser, on a server in this process: what it shows of machines, and how a person finds their way."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import pytest
import pytest_asyncio

from k3.core.objects import Manifest
from tests.page.machines import crowd, event, machine, of_a_controller, with_condition
from tests.page.stage import Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]

ROWS: Final = "[...document.querySelectorAll('.rows .row:not([hidden])')].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
NAMES: Final = f"{ROWS}.filter((row) => !row.matches('.group')).map((row) => row.querySelector('.cell.name').innerText)"
HEADS: Final = f"{ROWS}.filter((row) => row.matches('.group')).map((row) => row.innerText.replace(/\\s+/g, ' '))"
HOSTILE: Final = (
    '<img src=x onerror="document.title=1"><script>1</script>\u202egpj.exe\u0000\u0007' + "e\u0301\u0301\u0301\u0301" * 30
)
SERIOUS: Final = {"serious", "critical"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with staged() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def page(stage: Stage) -> AsyncIterator["Scene"]:
    """A store that is empty, and a page that has nothing chosen; at the end nothing may have been complained of."""
    scene = Scene(stage)
    await stage.server.ask("DELETE", "/api/v1/nodes")
    await stage.tab.look()
    await stage.tab.value("localStorage.clear()")
    await stage.tab.open(stage.server.url + "/")
    yield scene
    assert stage.tab.complaints == []


@dataclass(frozen=True, slots=True)
class Scene:
    """What a test does with the page and its store."""

    stage: Stage

    async def add(self, *nodes: Mapping[str, Any]) -> None:
        for node in nodes:
            path = "/api/v1/nodes" if node["kind"] == "Node" else "/api/v1/namespaces/default/events"
            code, found = await self.stage.server.ask("POST", path, node)
            assert code == 201, found

    async def change(self, name: str, patch: Manifest) -> None:
        merge = "application/merge-patch+json"
        code, found = await self.stage.server.ask("PATCH", f"/api/v1/nodes/{name}", patch, content_type=merge)
        assert code == 200, found

    async def value(self, script: str) -> Any:
        return await self.stage.tab.value(script)

    async def until(self, script: str) -> Any:
        return await self.stage.tab.until(script)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.stage.tab.press(key)

    async def names(self, *expected: str) -> None:
        """Waits until these rows are there, in this order."""
        await self.until(f"JSON.stringify({NAMES}) === JSON.stringify({list(expected)!r})")


async def test_the_troubled_come_first_and_one_glance_says_how_many(page: Scene) -> None:
    await page.until("document.getElementById('next').innerText.includes('k3 up')")
    assert await page.value("document.getElementById('count').innerText") == "No machines yet"
    await page.add(machine("web2"), machine("web10"), machine("gone", ready="False"), machine("dark", ready="Unknown"))
    await page.add(of_a_controller("k3s"), with_condition(machine("mute"), "k3.network/Reachable", "False", "NoAnswer"))
    await page.names("gone", "dark", "mute", "k3s", "web2", "web10")
    assert await page.value("document.getElementById('count').innerText") == "3 of 6 machines ready"
    parts = await page.value("[...document.querySelectorAll('#parts button:not([hidden])')].map((each) => each.innerText)")
    assert parts == ["1 not ready", "1 unknown", "1 in doubt", "3 ready"]
    assert await page.value("document.title") == "(2) 3 of 6 ready · k3"
    states = await page.value(f"{ROWS}.map((row) => row.querySelector('.cell.state').innerText.replace(/\\s+/g, ' '))")
    assert states[:3] == ["Not ready PeerUnreachable", "Unknown ObserverLost", "Not answering NoAnswer"]
    sources = await page.value(f"{ROWS}.map((row) => row.querySelector('.cell.source').innerText)")
    assert sources == ["network", "network", "network", "controller", "network", "network"]
    assert await page.value("document.getElementById('next').hidden")


async def test_a_change_is_seen_at_once_and_time_goes_on(page: Scene) -> None:
    await page.add(machine("web1", seen=1), machine("web2"))
    await page.names("web1", "web2")
    word = f"{ROWS}.find((row) => row.querySelector('.cell.name').innerText === 'web2').querySelector('.word').innerText"
    began = time.perf_counter()
    await page.change("web2", {"spec": {"unschedulable": True}})
    await page.until(f"{word} === 'Ready, cordoned'")
    assert time.perf_counter() - began < 5
    seen = f"{ROWS}[0].querySelector('.cell.seen').innerText"
    former = await page.value(seen)
    await page.until(f"{seen} !== '{former}'")
    assert (await page.value(seen)).endswith("s ago")
    await page.stage.server.ask("DELETE", "/api/v1/nodes/web1")
    await page.names("web2")


async def test_who_is_looked_after_by_nobody_becomes_unknown_without_any_change(page: Scene) -> None:
    node = machine("web1", seen=0)
    node["metadata"]["annotations"]["k3.network/peer-ttl"] = "1s"
    await page.add(node, machine("web2"))
    await page.names("web1", "web2")
    await page.until("document.getElementById('count').innerText === '1 of 2 machines ready'")
    assert await page.value(f"{ROWS}[0].querySelector('.cell.state').innerText.replace(/\\s+/g, ' ')") == "Unknown NoObserver"


async def test_hostile_texts_are_text_and_break_nothing(page: Scene) -> None:
    node = machine("a" + "b" * 200, ready="False", zone="\u202e")
    node["metadata"]["labels"].pop("zone")
    node["metadata"]["annotations"]["note"] = HOSTILE
    node["status"]["conditions"][0] |= {"reason": "NodeShutdown", "message": HOSTILE}
    node["status"]["addresses"][1]["address"] = HOSTILE[:60]
    await page.add(node, machine("web1"))
    await page.until(f"{ROWS}.length === 2")
    assert await page.value("document.querySelectorAll('#table img, #table script').length") == 0
    heights = await page.value(f"{ROWS}.map((row) => row.getBoundingClientRect().height)")
    assert heights == [40, 40]
    assert await page.value("document.documentElement.scrollWidth <= innerWidth")
    assert "\\u202e" in await page.value(f"{ROWS}[0].querySelector('.reason').title")
    await page.press("j", "Enter")
    await page.until("document.querySelector('dialog.drawer').open")
    assert await page.value("document.querySelectorAll('dialog img, dialog script').length") == 0
    assert await page.value("document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth")
    await page.press("Escape")


async def test_what_is_searched_selected_sorted_and_grouped_is_in_the_link(page: Scene) -> None:
    zone = "topology.kubernetes.io/zone"
    nodes = [machine(f"web{number}", address=f"10.0.0.{number}") for number in (1, 2, 10)]
    for node, where in zip(nodes, ("a", "b", "b"), strict=True):
        node["metadata"]["labels"][zone] = where
    await page.add(*nodes)
    await page.names("web1", "web2", "web10")
    await page.press("/")
    await page.stage.tab.write("10.0.0.1")
    await page.names("web1", "web10")
    await page.press("Escape", "Escape", "l")
    await page.stage.tab.write(f"{zone} in (b)")
    await page.names("web2", "web10")
    await page.stage.tab.write(",=")
    await page.until("document.getElementById('selector').getAttribute('aria-invalid') === 'true'")
    await page.names("web2", "web10")
    await page.press("Escape")
    await page.names("web1", "web2", "web10")
    await page.value("document.querySelector('.heads .name button').click()")
    await page.value("document.querySelector('.heads .name button').click()")
    await page.names("web10", "web2", "web1")
    assert await page.value("document.querySelector('.heads .name').ariaSort") == "descending"
    await page.value("{ const g = document.getElementById('group'); g.value = 'zone'; g.dispatchEvent(new Event('change')) }")
    await page.names("web1", "web10", "web2")
    assert await page.value(HEADS) == ["a1", "b2"]
    assert await page.value("location.search") == "?sort=-name&group=zone"
    await page.stage.tab.open(page.stage.server.url + "/?sort=-name&group=zone&q=web1&state=ready")
    await page.names("web1", "web10")
    assert await page.value("document.querySelector('#parts [aria-pressed=true]').innerText") == "3 ready"
    assert await page.value(HEADS) == ["a1", "b1"]


@pytest.mark.parametrize("link", ["at=1e99", "at=-5", "state=constructor&sort=constructor&group=constructor", "l=!!", "node=x"])
async def test_a_link_that_makes_no_sense_shows_all(page: Scene, link: str) -> None:
    await page.add(machine("web1"), machine("web2"))
    await page.stage.tab.open(f"{page.stage.server.url}/?{link}")
    await page.names("web1", "web2")


async def test_a_label_named_as_another_group_is_a_group_of_its_own(page: Scene) -> None:
    await page.add(machine("web1", zone="a"), machine("web2", zone="b", topology_kubernetes_io__zone="c"))
    await page.names("web1", "web2")
    await page.value(
        "{ const g = document.getElementById('group'); g.value = 'label:zone'; g.dispatchEvent(new Event('change')) }"
    )
    await page.until(f'JSON.stringify({HEADS}) === \'["a1","b1"]\'')
    await page.stage.tab.open(page.stage.server.url + "/?group=zone")
    await page.until(f'JSON.stringify({HEADS}) === \'["c1","(none)1"]\'')


async def test_where_nothing_fits_it_says_so(page: Scene) -> None:
    await page.add(machine("web1"))
    await page.names("web1")
    await page.value("document.getElementById('search').focus()")
    await page.stage.tab.write("nosuch")
    await page.until("document.getElementById('none').innerText.startsWith('No machine fits')")
    await page.value("document.querySelector('#none button').click()")
    await page.names("web1")
    assert await page.value("document.getElementById('none').hidden && location.search === ''")


@pytest.mark.parametrize("width", [390, 720, 790, 1000, 1090])
async def test_no_width_needs_to_be_scrolled_sideways(page: Scene, width: int) -> None:
    await page.add(machine("a" * 63, ready="False"))
    await page.stage.tab.look(width=width, height=500)
    await page.names("a" * 63)
    assert await page.value("document.getElementById('table').scrollWidth <= document.getElementById('table').clientWidth")


async def test_it_is_used_by_keys_alone(page: Scene) -> None:
    await page.add(*(machine(f"web{number}") for number in range(5)))
    await page.names("web0", "web1", "web2", "web3", "web4")
    await page.press("j", "ArrowDown", "j", "k")
    cursor = "document.querySelector('.rows [aria-selected=true] .cell.name').innerText"
    assert await page.value(cursor) == "web1"
    active = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))"
    assert await page.value(f"{active}.querySelector('.cell.name').innerText") == "web1"
    await page.press("Enter")
    await page.until("document.querySelector('dialog.drawer').open && location.search === '?node=web1'")
    await page.press("Escape")
    await page.until("document.activeElement.id === 'table' && location.search === ''")
    await page.press("?")
    await page.until("document.getElementById('dialog').open")
    await page.press("Escape", "End")
    assert await page.value(cursor) == "web4"
    former = await page.value("getComputedStyle(document.body).backgroundColor")
    await page.press("t")
    assert await page.value("getComputedStyle(document.body).backgroundColor") != former
    await page.press("t")


async def test_the_way_back_closes_the_details(page: Scene) -> None:
    await page.stage.tab.open(page.stage.server.url + "/?q=web")
    await page.add(machine("web1"))
    await page.names("web1")
    await page.press("j", "Enter")
    opened = "document.querySelector('dialog.drawer').open && location.search === '?q=web&node=web1'"
    closed = (
        "!document.querySelector('dialog.drawer').open && location.search === '?q=web' && document.activeElement.id === 'table'"
    )
    await page.until(opened)
    await page.value("history.back()")
    await page.until(closed)
    await page.value("history.forward()")
    await page.until(opened)
    length = await page.value("history.length")
    await page.press("Escape")
    await page.until(closed)
    await page.press("Enter")
    await page.until(opened)
    assert await page.value("history.length") == length
    await page.press("Escape")
    await page.until(closed)


async def test_cursor_and_place_stay_while_machines_come_and_change(page: Scene) -> None:
    await page.add(*(machine(f"web{number:03d}") for number in range(60)))
    await page.until("document.getElementById('table').ariaRowCount === '61'")
    await page.value("document.getElementById('table').scrollTop = 1000")
    below = "row.getBoundingClientRect().top >= document.querySelector('.head').getBoundingClientRect().bottom"
    first = f"{ROWS}.find((row) => {below}).querySelector('.cell.name').innerText"
    former = await page.until(f"document.getElementById('table').scrollTop === 1000 && {first}")
    await page.add(machine("aaa", ready="False"), machine("bbb"))
    await page.until("document.getElementById('table').ariaRowCount === '63'")
    assert await page.value(first) == former
    await page.press("j", "End", "k")
    await page.stage.server.ask("DELETE", "/api/v1/nodes/web059")
    await page.until("document.getElementById('table').ariaRowCount === '62'")
    assert await page.value("document.querySelector('.rows [aria-selected=true] .cell.name').innerText") == "web058"


async def test_however_many_there_are_only_those_in_sight_exist(page: Scene) -> None:
    await page.add(*crowd(400))
    await page.until("document.getElementById('table').ariaRowCount === '401'")
    assert await page.value("document.querySelectorAll('.rows .row').length") < 60
    await page.value("document.getElementById('table').scrollTop = 1e9")
    await page.until(f"{ROWS}.at(-1).ariaRowIndex === '401'")
    await page.until(f"{ROWS}.at(-1).querySelector('.cell.name').innerText === 'web399'")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
async def test_there_is_no_barrier(page: Scene, width: int, scheme: str) -> None:
    await page.add(machine("web1"), machine("gone", ready="False"), machine("dark", ready="Unknown"), of_a_controller("k3s"))
    await page.add(with_condition(machine("mute"), "k3.network/Reachable", "False", "NoAnswer"))
    await page.stage.server.ask("POST", "/api/v1/namespaces/default/events", event("web1", 1, "NodeReady", ago=3600))
    await page.stage.tab.look(width=width, height=844, scheme=scheme, reduced=True)
    await page.stage.tab.open(page.stage.server.url + "/?group=source")
    await page.until(f"{ROWS}.length === 7")
    assert await page.value("document.documentElement.scrollWidth <= innerWidth")
    assert await barriers(page) == []
    await page.press("j", "Enter")
    await page.until("document.querySelector('dialog.drawer').open")
    await asyncio.sleep(0.2)
    assert await barriers(page) == []
    await page.press("Escape")


async def barriers(page: Scene) -> list[str]:
    """Returns what axe finds that is serious."""
    engine = files("axe_core_python").joinpath("axe.min.js").read_text()
    await page.value(f"window.axe ? 0 : (() => {{ {engine}; return 1 }})()")
    found = await page.value("axe.run().then((found) => found.violations)")
    return [
        f"{each['id']}: {[(node['html'][:160], str(node.get('failureSummary'))[:300]) for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in SERIOUS
    ]
