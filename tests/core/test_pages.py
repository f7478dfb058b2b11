"""All of a kind, read in pages as of one moment."""

import pytest

from k3.core import limits
from k3.core.objects import NODE, Key
from k3.core.store import pages
from k3.stores.memory import MemoryStore


async def test_pages_are_of_one_revision_whatever_is_written_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_PAGE", 2)
    store = MemoryStore()
    for name in ("a", "b", "c", "d", "e"):
        await store.create(Key(NODE, name), {})
    found, revisions = [], set()
    async for page in pages(store, NODE, after=Key(NODE, "a")):
        found.append([item.key.name for item in page.objects])
        revisions.add(page.revision)
        await store.create(Key(NODE, f"d{len(found)}"), {})
    assert found == [["b", "c"], ["d", "e"]]
    assert len(revisions) == 1
    await store.aclose()
