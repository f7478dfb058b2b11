"""Fleets: `fleet("a", "b")` is two hosts with an agent each, on one store or on separate ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.lab import Lan
from tests.system.agents import Agent, Fleet


class MakeFleet(Protocol):
    """Hosts of these names, each with an agent, not yet started unless `start`: then all are Ready everywhere."""

    def __call__(self, *names: str, ttl: str = "5s", start: bool = True, options: tuple[str, ...] = ()) -> Fleet: ...


@pytest.fixture(params=[True, False], ids=["one-store", "separate-stores"])
def shared(request: pytest.FixtureRequest) -> bool:
    """Whether all agents of a fleet write to one SQLite file; parametrize it indirectly or override it to have only one."""
    return bool(request.param)


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, shared: bool) -> Iterator[MakeFleet]:
    """Make fleets; they end with the test. /tmp is the same on every host, so that is where a shared file lies."""
    made: list[Fleet] = []

    def make(*names: str, ttl: str = "5s", start: bool = True, options: tuple[str, ...] = ()) -> Fleet:
        store = f"sqlite://{tmp_path}/shared/k3.db" if shared else ""
        agents = [Agent(lan, lan.host(name), tmp_path / name, store=store, ttl=ttl, options=options) for name in names]
        made.append(Fleet(agents, shared=shared))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close()
