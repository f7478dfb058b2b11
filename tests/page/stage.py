"""A server over a store in memory, and a tab of a browser that has its page: one for all tests of a module."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from k3.stores.memory import MemoryStore
from tests.page.browser import Tab, chromium
from tests.server.running import Running, running


@dataclass(frozen=True, slots=True)
class Stage:
    """What a test of the page has."""

    store: MemoryStore
    server: Running
    tab: Tab

    async def of(self, module: str, expression: str, **values: Any) -> Any:
        """Returns the value of an expression about a module of the page, which is `m` there; `values` are names in it."""
        names = ", ".join(values)
        script = f"import('/page/{module}.js').then((m) => (({{{names}}}) => ({expression}))({json.dumps(values)}))"
        return await self.tab.value(script)


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """A stage, for as long as a module's tests run."""
    store = MemoryStore()
    async with running(store) as server, chromium() as browser, browser.tab(server.url + "/") as tab:
        yield Stage(store, server, tab)
    await store.aclose()
