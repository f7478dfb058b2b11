"""An agent and a store in which another program has put what is no object."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lab import Host, until

pytestmark = pytest.mark.netns

DATABASE: Final = "/run/list.db"
STORE: Final = ("--store", f"sqlite://{DATABASE}")
ROOT: Final = str(Path(__file__).parent.parent.parent)
INSERT: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.odd import ODD, insert
insert(Path(sys.argv[2]), ODD[sys.argv[3]][0], sys.argv[4])
"""
IS_KEPT: Final = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.odd import ODD, stored
print(json.dumps([name for name, document in stored(Path(sys.argv[2])).items() if document == ODD[sys.argv[3]][0]]))
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine without a network."""
    with Host("me") as machine:
        yield machine


def states(host: Host) -> dict[str, str]:
    rows = [line.split() for line in host.run(["k3", "nodes", "--no-headers", *STORE]).stdout.splitlines()]
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("own", [True, False], ids=["under-its-own-name", "under-another"])
@pytest.mark.parametrize("kind", ["truncated", "too-large", "very-deep"])
def test_an_agent_starts_goes_on_and_leaves_it_alone(host: Host, kind: str, own: bool) -> None:
    odd = "me" if own else "odd"
    first = host.start(["k3", "network", *STORE])
    first.wait_for("on the list")
    assert first.stop() == 0
    host.python(INSERT, ROOT, DATABASE, kind, odd)
    agent = host.start(["k3", "network", "--peer-ttl", "2s", *STORE])
    agent.wait_for("on the list")
    host.python(INSERT, ROOT, DATABASE, kind, "more")
    wanted = {odd: "Unreadable", "more": "Unreadable", **({} if own else {"me": "Ready"})}
    until(lambda: states(host) == wanted, what=lambda: f"{states(host)}\n{agent.text}")
    if own:
        agent.wait_for(lambda line: "node.not_ours" in line and "cannot be read" in line)
    assert agent.stop() == 0
    assert set(json.loads(host.python(IS_KEPT, ROOT, DATABASE, kind))) == {odd, "more"}
    assert "agent.fault" not in agent.text
    assert "Traceback" not in agent.text
