"""The drawer explains a Node in the words, and by the rules, of `k3 describe`."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from k3.core import phrases
from k3.core.sources import SOURCES
from k3.view import node_table, words
from k3.view.cells import Moment
from k3.view.reasons import OTHERS_REASONS
from tests.page.pasts import NOW, machine, ready
from tests.page.stage import Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]
REACHABLE = {"type": "k3.network/Reachable", "status": "False", "reason": "ProbeFailed", "message": "timed out"}
CLONED = {"type": "k3.network/Cloned", "status": "True", "reason": "SameIdentity", "message": "at 10.0.0.9"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """One browser for all."""
    async with staged() as opened:
        yield opened


def troubled() -> Iterator[tuple[dict[str, Any], bool]]:
    """Gives a Node in every state and situation that k3 has words for, and whether an agent looks after it."""
    for reason in [*(each for row in SOURCES.values() for each in row.reasons | row.original_reasons), *OTHERS_REASONS]:
        yield machine("web1", ready("False", NOW, reason, "said so")), True
    another = phrases.another_answers("10.0.0.7:7946")
    for message in (phrases.renamed("web1", "web2"), another, phrases.another_answers("10.0.0.7:7946", "web2")):
        yield machine("web1", ready("False", NOW, "PeerUnreachable", message)), True
        yield machine("web1", ready("Unknown", NOW, "SourceUnreachable", phrases.AGENT_LOST)), True
    unproven = machine("web1", ready("False", NOW, "PeerUnreachable", "never answered"))
    del unproven["metadata"]["annotations"]["k3.network/lastSeen"]
    yield unproven, True
    yield machine("web1"), False
    for condition in (REACHABLE, CLONED):
        yield machine("web1", ready("True", NOW), condition), True
    bare = machine("web1")
    del bare["status"]["conditions"]
    yield bare, True
    yield {**bare, "metadata": {"name": "web1"}}, True
    for address in ("fd00::7", "odd;rm -rf", ""):
        node = machine("web1", ready("False", NOW, "PeerUnreachable", "no answer"))
        node["status"]["addresses"] = [{"type": "InternalIP", "address": address}]
        yield node, True
    consul = machine(
        "web1", ready("False", NOW, "ConsulCritical", "a check fails"), notes={"k3.discovery/consul-node": "a'b (c)!*é/d"}
    )
    consul["metadata"]["labels"] = {"k3.discovery/managed": "true"}
    yield consul, True
    foreign = machine("web1", ready("False", NOW, "SomethingElse", "no"))
    foreign["metadata"]["labels"] = {}
    yield foreign, True


async def test_it_says_the_same_as_describe(stage: Stage) -> None:
    """Word for word, with the same command."""
    cases = list(troubled())
    script = """Promise.all([import("/page/states.js")]).then(([states]) => cases.map(([node, isObserved]) => {
        const { means, do: what, command } = m.meaning(words, node, states.state(node, isObserved)) ?? {};
        return [means, what, command];
    }))"""
    found = await stage.of("meaning", script, cases=cases, words=words.to_json())
    for (node, is_observed), said in zip(cases, found, strict=True):
        wanted = words.of(node_table.read(node, Moment(datetime.now(UTC), is_observed)))
        assert said == [wanted.means, wanted.do, wanted.command], node["status"]
