"""The queue in front of a writer: who shares a commit, and who is told what."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from k3.core import limits
from k3.core.errors import Conflict, Unavailable
from k3.core.objects import NODE, Key, Object
from k3.stores.log.commit import BATCH_WRITES, Commit, GroupCommit
from k3.stores.log.writes import DeleteWrite, Write, WriteOutcome


def write(name: str) -> Write:
    return DeleteWrite(Key(NODE, name), None, None)


def result(written: Write) -> Object:
    return Object(key=written.key, uid="u", revision=1, document=b"{}")


@asynccontextmanager
async def running(commit: Commit) -> AsyncIterator[GroupCommit]:
    async with asyncio.TaskGroup() as group:
        commits = GroupCommit(commit)
        task = group.create_task(commits.run())
        yield commits
        task.cancel()


class Engine:
    """Commits when let, and remembers what was committed together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.let = asyncio.Event()

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteOutcome]:
        self.batches.append([one.key.name for one in writes])
        await self.let.wait()
        return [Conflict("no") if one.key.name == "bad" else result(one) for one in writes]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_gathers_during_a_commit_shares_the_next_and_each_has_its_own_outcome() -> None:
    engine = Engine()
    async with running(engine.commit) as commits, asyncio.TaskGroup() as group:
        first = group.create_task(commits.submit(write("first")))
        await turns()
        rest = [group.create_task(commits.submit(write(f"n{number}"))) for number in range(5)]
        bad = group.create_task(refused(commits, "bad", Conflict))
        await turns()
        engine.let.set()
    assert engine.batches == [["first"], ["n0", "n1", "n2", "n3", "n4", "bad"]]
    assert [task.result().key.name for task in (first, *rest)] == ["first", "n0", "n1", "n2", "n3", "n4"]
    assert bad.result()


async def refused(commits: GroupCommit, name: str, error: type[Exception]) -> bool:
    with pytest.raises(error):
        await commits.submit(write(name))
    return True


async def test_a_commit_is_bounded() -> None:
    engine = Engine()
    engine.let.set()
    async with running(engine.commit) as commits:
        await asyncio.gather(*(commits.submit(write(f"n{number}")) for number in range(BATCH_WRITES + 1)))
    assert [len(batch) for batch in engine.batches] == [BATCH_WRITES, 1]


async def test_a_write_given_up_before_it_was_begun_is_not_made() -> None:
    engine = Engine()
    async with running(engine.commit) as commits, asyncio.TaskGroup() as group:
        group.create_task(commits.submit(write("first")))
        await turns()
        given_up = group.create_task(commits.submit(write("given-up")))
        group.create_task(commits.submit(write("last")))
        await turns()
        given_up.cancel()
        await turns()
        engine.let.set()
    assert engine.batches == [["first"], ["last"]]


async def test_a_failed_commit_is_everybodys_and_the_next_goes_on() -> None:
    broken = [True]

    async def commit(writes: Sequence[Write]) -> Sequence[WriteOutcome]:
        if broken.pop():
            raise Unavailable
        return [result(one) for one in writes]

    async with running(commit) as commits:
        broken.append(False)
        broken.append(True)
        assert all(await asyncio.gather(refused(commits, "a", Unavailable), refused(commits, "b", Unavailable)))
        assert await commits.submit(write("c")) == result(write("c"))


async def test_nobody_waits_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.02)
    engine = Engine()
    async with running(engine.commit) as commits:
        assert all(await asyncio.gather(refused(commits, "a", Unavailable), refused(commits, "b", Unavailable)))


async def test_the_end_answers_everybody() -> None:
    engine = Engine()
    async with asyncio.TaskGroup() as group:
        async with running(engine.commit) as commits:
            for name in ("begun", "waiting"):
                group.create_task(refused(commits, name, Unavailable))
                await turns()
        commits.close("closed")
        assert await refused(commits, "late", Unavailable)
