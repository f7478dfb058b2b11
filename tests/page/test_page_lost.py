"""The page and its server: killed and back, silent, over TLS with a token, with one that may only read."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from k3.core.objects import NODE, Key
from k3.server.access import tokens
from k3.stores.memory import MemoryStore
from tests.page.browser import Browser, Tab, chromium
from tests.page.machines import crowd, machine
from tests.server.running import running, server_process
from tests.servers.server import Server
from tests.stores.cutting_proxy import Cut, cutting_proxy

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]

_COUNT: Final = "document.getElementById('count').innerText"
_BAR: Final = "document.getElementById('bar').innerText"
_DRAWER: Final = "document.querySelector('dialog.drawer')"
_CHANGERS: Final = (
    f"[...{_DRAWER}.querySelectorAll('button')].filter((each) => each.checkVisibility()"
    " && /^(Cordon|Add a note|Set label|Delete this Node)/.test(each.innerText))"
)
"""The buttons that change the machine which is opened."""
_LIVE: Final = "document.body.dataset.standing === 'live'"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


async def _kubectl(server: Server, *nodes: dict[str, object]) -> None:
    """Writes Nodes over the API, as a client on this machine does."""
    script = (
        "import json,sys,urllib.request as u\n"
        "for n in json.load(sys.stdin):\n"
        " u.urlopen(u.Request(sys.argv[1], json.dumps(n).encode(), {'Content-Type': 'application/json'}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, f"{server.endpoint}/api/v1/nodes", stdin=asyncio.subprocess.PIPE
    )
    await process.communicate(json.dumps(nodes).encode())
    assert process.returncode == 0


async def test_a_server_that_is_lost_is_said_at_once_and_no_machine_with_it(browser: Browser, tmp_path: Path) -> None:
    with server_process(f"sqlite://{tmp_path}/k3.db") as server:
        await _kubectl(server, machine("web1"), machine("web2"))
        async with browser.tab(server.endpoint + "/") as tab:
            await tab.until(f"{_LIVE} && {_COUNT} === '2 of 2 machines ready'")
            assert f"See them in a browser: {server.endpoint}/\n" in server.process.text
            await tab.press("j")
            await tab.press("Enter")
            await tab.until(f"{_CHANGERS}.length > 2 && {_CHANGERS}.every((each) => !each.disabled)")
            server.close()
            began = time.perf_counter()
            await tab.until(f"{_BAR}.startsWith('Not connected since')")
            said_after = time.perf_counter() - began
            assert said_after < 5, "as soon as the connection breaks"
            assert re.search(r"since \d\d:\d\d:\d\d — what you see is from then", await tab.value(_BAR))
            assert await tab.value(_COUNT) == "2 of 2 machines ready"
            seen = "[...document.querySelectorAll('.rows .seen')].map((each) => each.innerText).join()"
            former = await tab.value(seen)
            await asyncio.sleep(2.5)
            assert await tab.value(seen) == former, "ages stand still"
            hindered = "each.disabled && each.title.startsWith('Nothing can be changed')"
            assert await tab.value(f"{_CHANGERS}.every((each) => {hindered})")
            assert "Nothing can be changed until it is up to date again." in await tab.value(f"{_DRAWER}.innerText")
            await asyncio.to_thread(server.start)
            await tab.until(f"{_LIVE} && document.getElementById('bar').hidden")
            await tab.until(
                f"{_CHANGERS}.length > 2 && {_CHANGERS}.every((each) => !each.disabled && !each.title.startsWith('No'))"
            )
            await _kubectl(server, machine("web3", ready="False"))
            await tab.until(f"{_COUNT} === '2 of 3 machines ready'")
            assert tab.complaints == []


async def test_a_server_that_says_nothing_any_more_is_lost_too(browser: Browser, tmp_path: Path) -> None:
    with server_process(f"sqlite://{tmp_path}/k3.db") as server:
        await _kubectl(server, machine("web1"))
        async with browser.tab(server.endpoint + "/") as tab:
            await tab.until(f"{_LIVE} && {_COUNT} === '1 of 1 machine ready'")
            server.process.freeze()
            await tab.until(f"{_BAR}.startsWith('Not connected since')", 30)
            assert await tab.value(_COUNT) == "1 of 1 machine ready"
            server.process.thaw()
            await tab.until(_LIVE, 30)
            await _kubectl(server, machine("web2"))
            await tab.until(f"{_COUNT} === '2 of 2 machines ready'")


async def test_an_answer_that_breaks_off_is_asked_for_again(browser: Browser) -> None:
    store = MemoryStore()
    for node in crowd(300):
        await store.create(Key(NODE, node["metadata"]["name"]), node)
    async with running(store) as server, cutting_proxy("127.0.0.1", server.port) as proxy, browser.tab() as tab:
        proxy.cut = Cut(b"GET /api/v1/nodes?", "within")
        await tab.open(f"http://127.0.0.1:{proxy.port}/")
        await tab.until(f"{_LIVE} && {_COUNT} === '294 of 300 machines ready'")
        assert proxy.cuts == 1
        assert tab.complaints == []


async def test_it_asks_for_a_token_and_offers_what_that_allows(browser: Browser) -> None:
    store = MemoryStore()
    view, admin = [tokens.make(role, "", now=datetime.now(UTC)) for role in ("view", "admin")]
    for made in (view, admin):
        await tokens.keep(store, made.token)
    await store.create(Key(NODE, "web1"), machine("web1"))
    async with running(store, tls=True) as server, browser.tab() as tab:
        await tab.call("Security.setIgnoreCertificateErrors", ignore=True)
        await _asks_and_shows(tab, server.url + "/", view.text, admin.text)


async def _asks_and_shows(tab: Tab, url: str, view: str, admin: str) -> None:
    buttons = "[...document.querySelectorAll('dialog.drawer button')]"
    may_change = f"{buttons}.some((each) => each.innerText === 'Cordon' && each.checkVisibility())"
    await tab.open(url)
    await tab.until("document.getElementById('dialog').open")
    assert "k3 token create --role view" in await tab.value("document.getElementById('dialog').innerText")
    assert await tab.value(_COUNT) != "0 of 0 machines ready"
    await tab.write("k3.0123456789.wrong")
    await tab.press("Enter")
    await tab.until("document.getElementById('dialog').open && document.getElementById('token').value === ''")
    await tab.write(view)
    await tab.press("Enter")
    await tab.until(f"{_LIVE} && {_COUNT} === '1 of 1 machine ready'")
    await tab.press("j")
    await tab.press("Enter")
    await tab.until("document.querySelector('dialog.drawer').open")
    await asyncio.sleep(0.5)
    assert not await tab.value(may_change)
    await tab.value("sessionStorage.clear()")
    await tab.open("about:blank")
    await tab.open(f"{url}?node=web1#token={admin}")
    await tab.until(f"{_LIVE} && document.querySelector('dialog.drawer').open")
    await tab.until(may_change)
    assert admin not in await tab.value("location.href")
    assert admin not in await tab.value("document.documentElement.outerHTML")
    assert await tab.value("localStorage.length + document.cookie.length") == 0
    await _takes_a_link_into_the_same_tab(tab, url, view)


async def _takes_a_link_into_the_same_tab(tab: Tab, url: str, view: str) -> None:
    await tab.value("sessionStorage.clear()")
    await tab.open("about:blank")
    await tab.open(url)
    await tab.until(f"document.getElementById('dialog').open && {_BAR}.includes('to those who have a token')")
    await tab.value(f"void (location.hash = 'token={view}')")
    await tab.until(f"{_LIVE} && !document.getElementById('dialog').open")
    assert view not in await tab.value("location.href")
