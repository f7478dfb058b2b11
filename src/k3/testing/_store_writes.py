"""The laws of `get`, `create`, `update` and `delete`. Part of `StoreSuite`."""
# ruff: noqa: S101, PLR2004 - assert is how a test speaks, and expected numbers stand where they are expected

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from k3.core import limits
from k3.core.errors import AlreadyExists, Conflict, Invalid, NotFound, TooLarge
from k3.core.objects import EVENT, LEASE, NODE, Key, Object
from k3.core.store import Store, modify
from k3.testing.store_steps import changes_until, next_change, node


class WriteLaws:
    """Compare-and-swap, identity, and what is refused."""

    async def test_what_was_created_can_be_read(self, store: Store) -> None:
        """A new object has a uid, a revision and a creation time, and `get` gives the same."""
        made = await store.create(node("web1"), {"metadata": {"labels": {"a": "ä"}}, "spec": {"x": [1, None]}})
        assert await store.get(node("web1")) == made
        manifest = made.manifest()
        assert manifest["metadata"]["labels"] == {"a": "ä"}
        assert manifest["spec"] == {"x": [1, None]}
        assert manifest["metadata"]["uid"] == made.uid
        assert manifest["metadata"]["resourceVersion"] == str(made.revision)
        assert manifest["metadata"]["creationTimestamp"]

    async def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        """By any verb that needs it."""
        ghost = Object(key=node("ghost"), uid="u", revision=1, document=b"{}")
        for call in (store.get(ghost.key), store.update(ghost), store.delete(ghost.key)):
            with pytest.raises(NotFound):
                await call

    @pytest.mark.parametrize("name", ["", "a/b", "a" * (limits.NAME_BYTES + 1), "nul\0", "\udc80", "a\nb"])
    async def test_an_impossible_name_is_refused(self, store: Store, name: str) -> None:
        """On creating it is Invalid; anywhere else it is just not there."""
        with pytest.raises(Invalid):
            await store.create(node(name), {})
        with pytest.raises(NotFound):
            await store.get(node(name))
        with pytest.raises(NotFound):
            await store.delete(node(name))
        assert (await store.list(NODE)).objects == ()

    async def test_a_name_is_taken_once(self, store: Store) -> None:
        """The second create changes nothing."""
        first = await store.create(node("web1"), {"spec": {"first": True}})
        with pytest.raises(AlreadyExists):
            await store.create(node("web1"), {"spec": {"first": False}})
        assert await store.get(node("web1")) == first

    async def test_kinds_and_namespaces_are_apart(self, store: Store) -> None:
        """The same name in each is another object."""
        keys = [node("x"), Key(EVENT, "x", "a"), Key(EVENT, "x", "b"), Key(LEASE, "x", "a")]
        made = [await store.create(key, {"spec": {"n": number}}) for number, key in enumerate(keys)]
        assert [await store.get(key) for key in keys] == made
        assert (await store.list(EVENT)).objects == (made[1], made[2])
        assert (await store.list(EVENT, namespace="b")).objects == (made[2],)
        assert (await store.list(EVENT, namespace="c")).objects == ()

    async def test_what_json_cannot_say_is_invalid(self, store: Store) -> None:
        """And nothing is stored."""
        for odd in ({"x": float("nan")}, {"x": object()}):
            with pytest.raises(Invalid):
                await store.create(node("web1"), odd)
        assert (await store.list(NODE)).objects == ()

    async def test_too_large_is_refused_and_the_limit_is_not(self, store: Store) -> None:
        """For create and update; the object stays as it was."""
        with pytest.raises(TooLarge):
            await store.create(node("big"), {"x": "x" * limits.OBJECT_BYTES})
        made = await store.create(node("big"), {"x": ""})
        most = b'{"x":"' + b"x" * (limits.OBJECT_BYTES - 8) + b'"}'
        stored = await store.update(replace(made, document=most))
        assert (await store.get(node("big"))).document == most
        with pytest.raises(TooLarge):
            await store.update(replace(stored, document=most[:-2] + b'x"}'))
        assert await store.get(node("big")) == stored

    async def test_an_update_needs_the_newest_revision(self, store: Store) -> None:
        """Of two writers who read the same, one must read again."""
        made = await store.create(node("web1"), {"n": 0})
        first = await store.update(made.with_manifest({**made.manifest(), "n": 1}))
        with pytest.raises(Conflict):
            await store.update(made.with_manifest({**made.manifest(), "n": 2}))
        assert await store.get(node("web1")) == first
        assert (first.uid, first.created) == (made.uid, made.created)

    async def test_a_recreated_name_is_another_object(self, store: Store) -> None:
        """It has a new uid, and a caller with the old one can neither write nor delete it."""
        old = await store.create(node("web1"), {"n": 0})
        await store.delete(node("web1"))
        new = await store.create(node("web1"), {"n": 0})
        assert new.uid != old.uid
        assert new.revision > old.revision
        with pytest.raises(Conflict):
            await store.update(replace(old, document=b'{"n":1}'))
        with pytest.raises(Conflict):
            await store.update(replace(old, revision=new.revision, document=b'{"n":1}'))
        with pytest.raises(Conflict):
            await store.delete(node("web1"), uid=old.uid)
        assert await store.get(node("web1")) == new

    async def test_a_delete_may_name_what_it_expects(self, store: Store) -> None:
        """Another revision or uid is a conflict; the answer is the last state at the revision of the delete."""
        made = await store.create(node("web1"), {"n": 0})
        wrongs: tuple[dict[str, Any], ...] = (
            {"revision": made.revision + 1},
            {"uid": "another"},
            {"revision": made.revision, "uid": "another"},
        )
        for wrong in wrongs:
            with pytest.raises(Conflict):
                await store.delete(node("web1"), **wrong)
        gone = await store.delete(node("web1"), revision=made.revision, uid=made.uid)
        assert gone.revision > made.revision
        assert (gone.uid, gone.document) == (made.uid, made.document)
        with pytest.raises(NotFound):
            await store.get(node("web1"))

    async def test_an_update_that_changes_nothing_writes_nothing(self, store: Store) -> None:
        """Same bytes or same JSON: no revision, no event; but a stale reader is still told."""
        made = await store.create(node("web1"), {"a": 1, "b": {"c": 2, "d": 3}})
        other_order = b'{"b": {"d": 3, "c": 2}, "a": 1, ' + made.document[1:].replace(b',"a":1,"b":{"c":2,"d":3}', b"")
        async with store.watch(NODE, made.revision) as events:
            assert await store.update(made) == made
            assert await store.update(replace(made, document=other_order)) == made
            with pytest.raises(Conflict):
                await store.update(replace(made, revision=made.revision - 1))
            fence = await store.create(node("fence"), {})
            assert (await next_change(events)).object == fence

    async def test_one_true_and_one_point_zero_differ(self, store: Store) -> None:
        """Equal in Python, not in JSON: such an update is written."""
        item = await store.create(node("web1"), {})
        for document in (b'{"x":1}', b'{"x":true}', b'{"x":1.0}'):
            item = await store.update(replace(item, document=document))
            assert (await store.get(node("web1"))).document == document

    async def test_unknown_fields_survive(self, store: Store) -> None:
        """Through read, change and write."""
        await store.create(node("web1"), {"metadata": {"odd": {"deep": [1]}}, "future": {"x": None, "half": "\udc80"}})
        await modify(store, node("web1"), lambda manifest: {**manifest, "spec": {"unschedulable": True}})
        manifest = (await store.get(node("web1"))).manifest()
        assert manifest["metadata"]["odd"] == {"deep": [1]}
        assert manifest["future"] == {"x": None, "half": "\udc80"}
        assert manifest["spec"] == {"unschedulable": True}

    async def test_writers_at_once_lose_nothing(self, store: Store) -> None:
        """Every increment of a counter by compare-and-swap is in the end result."""
        await store.create(node("counter"), {"n": 0})

        async def increment() -> None:
            for _ in range(5):
                await modify(store, node("counter"), lambda manifest: {**manifest, "n": manifest["n"] + 1}, attempts=500)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(increment())
        assert (await store.get(node("counter"))).manifest()["n"] == 40

    async def test_of_many_creators_one_wins(self, store: Store) -> None:
        """And what it wrote is what is there."""
        results = await asyncio.gather(
            *(store.create(node("web1"), {"n": number}) for number in range(50)), return_exceptions=True
        )
        won = [result for result in results if isinstance(result, Object)]
        assert len(won) == 1
        assert sum(isinstance(result, AlreadyExists) for result in results) == 49
        assert await store.get(node("web1")) == won[0]

    async def test_revisions_rise_across_kinds(self, store: Store) -> None:
        """One counter for the whole store; no two writes share a number."""
        seen = [(await store.list(NODE)).revision]
        for number in range(5):
            seen.append((await store.create(node(f"n{number}"), {})).revision)
            seen.append((await store.create(Key(EVENT, f"e{number}", "default"), {})).revision)
            seen.append((await store.delete(node(f"n{number}"))).revision)
        assert seen == sorted(set(seen))
        assert (await store.list(LEASE)).revision >= seen[-1]

    async def test_a_cancelled_writer_leaves_nothing_odd(self, store: Store) -> None:
        """Whether it was written or not, the store and its watchers agree."""
        start = await store.list(NODE)
        async with store.watch(NODE, start.revision) as events:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(store.create(node(f"n{number:02}"), {})) for number in range(30)]
                for number, task in enumerate(tasks):
                    if number % 3 == 0:
                        await asyncio.sleep(0)
                    task.cancel()
            fence = await store.create(node("zz"), {})
            seen = [change.object for change in await changes_until(events, fence.revision)]
        # A write that its caller gave up may still be on its way, and come behind the fence.
        listed = [item for item in (await store.list(NODE)).objects if item.revision <= fence.revision]
        assert sorted(seen, key=lambda item: item.key.path) == listed
