"""`/metrics`: what it says, that any scraper can read it, and that it costs little to ask."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3 import __version__
from k3.agent import health, logs
from k3.agent.agent import Agent
from k3.agent.figures import Figures
from k3.agent.http import Server, get
from k3.agent.metrics import CONTENT_TYPE, OTHER, PROBES, REFUSALS, Counters, Family, counted, exposition, gauge
from k3.agent.source import Source
from k3.core import limits
from k3.core.decision import Decision
from k3.core.node import set_condition
from k3.core.objects import NODE, Key, Manifest
from k3.core.observation import Alive, Evidence, Facts
from k3.core.sources import DISCOVERY, NETWORK, SourceRow
from k3.core.store import Store
from k3.network import policy, tally
from k3.network.intake import Kind
from k3.network.messages import Answered, Endpoint, Impostor, LocalFault, NoAnswer, Outcome, Refused, Target
from k3.network.peers.bounds import Bound
from k3.network.prober import Prober
from k3.network.records import Reason
from k3.network.whereabouts import Whereabouts
from k3.settings.listen import Listen
from k3.stores.enduring import EnduringStore
from k3.stores.memory import MemoryStore
from k3.testing.faults import FaultyStore
from tests.docs.pages import page
from tests.exposition import Read, parse

FAMILY = Family("k3_toys_total", "Toys.", "colour")


class Quiet(Source):
    row: ClassVar[SourceRow] = NETWORK

    def decide(self, current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
        return policy.decide(current, seen, now=now)

    async def run(self, port: int) -> None:
        await asyncio.Event().wait()


class Mirror(Quiet):
    row = DISCOVERY
    leads = False

    @property
    def may_write(self) -> bool:
        return self.leads


def machine(name: str, row: SourceRow | None, status: str, reason: str, *, reachable: bool = True) -> tuple[Key, Manifest]:
    made: Manifest = {"metadata": {"name": name, "labels": dict(row.labels) if row else {}}}
    set_condition(made, "Ready", status=status, reason=reason, message="", now=datetime.now(UTC))
    if not reachable:
        set_condition(made, "k3.network/Reachable", status="False", reason="x", message="", now=datetime.now(UTC))
    return Key(NODE, name), made


class Scene:
    """An agent with two sources behind a health server, on a store that may be cut off."""

    def __init__(self, agent: Agent, network: Source, store: Store, faulty: FaultyStore, port: int) -> None:
        self.agent, self.network, self.store, self.faulty, self.port = agent, network, store, faulty, port

    async def read(self) -> dict[str, Read]:
        answer = await get(Server(host="127.0.0.1", port=self.port), "/metrics", timeout_seconds=10)
        assert answer.status == 200
        return parse(answer.body.decode())

    async def until(self, wanted: Any) -> dict[str, Read]:
        async with asyncio.timeout(20):
            while True:
                read = await self.read()
                if wanted(read):
                    return read
                await asyncio.sleep(0.05)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with running() as made:
        yield made


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    memory = MemoryStore()
    faulty = FaultyStore(memory)
    agent = Agent(EnduringStore(faulty))
    sources = [Quiet(agent.shared, Facts(node="a")), Mirror(agent.shared, Facts(node="a"))]
    figures = Figures(agent.shared, sources)
    server = await health.serve(Listen("127.0.0.1", 0), sources[0].info, metrics=figures.text, counters=agent.shared.counters)
    async with server, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(agent.run()), tasks.create_task(agent.find(sources, server.port))]
        await sources[1].listed.wait()
        yield Scene(agent, sources[0], memory, faulty, server.port)
        for task in running:
            task.cancel()
    await memory.aclose()


async def test_what_it_says_of_a_young_agent(scene: Scene) -> None:
    read = await scene.read()
    assert read["k3_build_info"].of(version=__version__) == 1
    assert 1.7e9 < read["k3_start_time_seconds"].of() < 1e11
    assert read["k3_store_up"].of() == 1
    assert 0 <= read["k3_store_silent_seconds"].of() < 20
    assert read["k3_store_lag_revisions"].of() == 0
    assert "k3_nodes" not in read
    assert (read["k3_writes_total"].of(outcome="created"), len(read["k3_writes_total"].samples)) == (0, 7)
    for name in ("network", "discovery"):
        assert read["k3_source_up"].of(source=name) == 1
        assert read["k3_source_joined"].of(source=name) == 0
    assert (read["k3_source_leads"].of(source="network"), read["k3_source_leads"].of(source="discovery")) == (1, 0)


async def test_nodes_by_state(scene: Scene) -> None:
    for key, manifest in (
        machine("a", NETWORK, "True", "PeerAlive"),
        machine("b", NETWORK, "True", "PeerAlive", reachable=False),
        machine("c", NETWORK, "False", "PeerUnreachable"),
        machine("d", DISCOVERY, "Unknown", "ConsulUnreachable"),
        machine("e", None, "True", "KubeletReady"),
        (Key(NODE, "f"), {"metadata": {"name": "f", "labels": {"a": "b"}}}),
    ):
        await scene.store.create(key, manifest)
    read = await scene.until(lambda read: sum(read.get("k3_nodes", Read("", "")).samples.values()) == 6)
    nodes = read["k3_nodes"]
    assert nodes.of(source="network", state="ready") == 1
    assert nodes.of(source="network", state="not_answering") == 1
    assert nodes.of(source="network", state="not_ready") == 1
    assert nodes.of(source="controller", state="ready") == 1
    assert nodes.of(source="controller", state="unknown") + nodes.of(source="discovery", state="unknown") == 2
    await scene.store.delete(Key(NODE, "c"))
    await scene.until(lambda read: read["k3_nodes"].of(source="network", state="not_ready") == 0)


async def test_writes_and_an_outage(scene: Scene) -> None:
    alive = Alive(name="web", facts=Facts(node="web", port=7946), seen_by="a", evidence=Evidence())
    scene.network.submit(alive)
    read = await scene.until(lambda read: "k3_nodes" in read)
    assert read["k3_writes_total"].of(outcome="created") == 1
    assert sum(read["k3_writes_total"].samples.values()) == 1
    assert read["k3_nodes"].of(source="network", state="ready") == 1
    scene.faulty.down = True
    scene.faulty.cut_watches()
    await scene.until(lambda read: read["k3_store_up"].of() == 0)
    scene.network.submit(replace(alive, facts=Facts(node="web", port=7947)))
    await scene.until(lambda read: read["k3_writes_total"].of(outcome="unavailable") == 1)
    scene.faulty.down = False
    read = await scene.until(lambda read: read["k3_store_up"].of() == 1)
    assert read["k3_store_lag_revisions"].of() == 0


async def test_faults_and_refusals(scene: Scene) -> None:
    scene.agent.shared.faults.note("here", ValueError("x"))
    scene.agent.shared.counters.add(REFUSALS, "visits", 3)
    read = await scene.read()
    assert list(read["k3_faults_total"].samples.values()) == [1]
    assert read["k3_refusals_total"].of(bound="visits") == 3
    assert read["k3_log_lines_dropped_total"].of(why="repeated") == logs.dropped()["repeated"]


async def test_its_type_and_that_a_server_without_it_has_none(scene: Scene) -> None:
    for port, expected in ((scene.port, 200), (0, 404)):
        async with await health.serve(Listen("127.0.0.1", 0), dict) as bare:
            reader, writer = await asyncio.open_connection("127.0.0.1", port or bare.port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(20):
                head = (await reader.read()).partition(b"\r\n\r\n")[0].decode()
            writer.transport.abort()
        assert head.startswith(f"HTTP/1.1 {expected} ")
        assert (f"content-type: {CONTENT_TYPE}" in head.lower()) == (expected == 200)


async def test_ten_thousand_nodes_are_not_counted_at_each_request(scene: Scene) -> None:
    loop = asyncio.get_running_loop()
    await scene.until(lambda read: read["k3_store_up"].of() == 1)
    for number in range(3_000):
        await scene.store.create(*machine(f"n{number}", NETWORK, "True", "PeerAlive"))
    await scene.until(lambda read: read.get("k3_nodes", Read("", "")).of(source="network", state="ready") == 3_000)
    figures = Figures(scene.agent.shared, [])
    began = loop.time()
    figures.text()
    first = loop.time() - began
    began = loop.time()
    for _ in range(20):
        figures.text()
    assert (loop.time() - began) / 20 < first / 3, "they are remembered"


# --- probes

TARGET = Target(name="web", id="", groups=())


@pytest.mark.parametrize(
    ("outcome", "counted_as"),
    [
        (Refused(), "refused"),
        (NoAnswer("x"), "no_answer"),
        (Impostor("x", "", Endpoint("10.0.0.1", 1)), "impostor"),
        (LocalFault("ENETDOWN"), "not_asked"),
        (OSError(100, "x"), "not_asked"),
        (Answered(facts=Facts(node="web"), endpoint=Endpoint("10.0.0.1", 1), group=0), "answered"),
    ],
)
async def test_probes_are_counted_by_outcome(outcome: Outcome | OSError, counted_as: str) -> None:
    async def ask(target: Target, *, timeout_seconds: float, via: Any = None) -> Outcome:
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    counters = Counters()
    asking = Prober(Whereabouts(), ask=ask, counters=counters)
    for _ in range(3):
        await asking.ask(TARGET, timeout_seconds=1)
    assert set(counters.of(PROBES)) == set(PROBES.values)
    assert {value: count for value, count in counters.of(PROBES).items() if count} == {counted_as: 3}


# --- the text


@given(st.dictionaries(st.text(max_size=80), st.integers(0, 2**63), max_size=20), st.text(min_size=1, max_size=30))
def test_no_label_value_can_break_a_line(counts: dict[str, int], help_: str) -> None:
    shown = exposition(
        [counted(Family("k3_toys_total", "Toys.", "colour"), counts), gauge("k3_x", "x" + help_.replace("\r", ""), 1.5)]
    )
    lines = shown.split("\n")
    assert len(lines) == (2 + len(counts) if counts else 0) + 3 + 1
    short = [value for value in counts if len(value) <= limits.LABEL_VALUE_BYTES]
    if len(short) == len(counts) and all(value.encode("utf-8", "replace").decode() == value for value in counts):
        read = parse(shown)
        for value, count in counts.items():
            assert read["k3_toys_total"].of(colour=value) == float(count)


def test_values_beyond_the_bound_are_one() -> None:
    counters = Counters()
    for number in range(1_000):
        counters.add(FAMILY, f"v{number}")
    counters.add(FAMILY, "v1")
    counts = counters.of(FAMILY)
    assert len(counts) == limits.METRIC_VALUES + 1
    assert counts["v1"] == 2
    assert counts[OTHER] == 1_000 - limits.METRIC_VALUES


@pytest.mark.parametrize(
    "text",
    [
        "k3_x 1",
        "k3_x 1\n",
        "# HELP k3_x X.\n# TYPE k3_x counter\nk3_x 1\n",
        '# HELP k3_x X.\n# TYPE k3_x gauge\nk3_x{a="b} 1\n',
        '# HELP k3_x X.\n# TYPE k3_x gauge\nk3_x{a="\\t"} 1\n',
        '# HELP k3_x X.\n# TYPE k3_x gauge\nk3_x{a="b"} 1\nk3_x{a="b"} 2\n',
        "# HELP k3_x X.\n# TYPE k3_x gauge\nk3_x one\n",
    ],
)
def test_the_reader_of_these_tests_refuses_what_scrapers_refuse(text: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        parse(text)


async def test_every_metric_has_a_row_in_the_docs(scene: Scene) -> None:
    table = page("docs/deploy.md").tables("metric")[0]
    rows = {name for row in table for name in re.findall(r"`(k3_[a-z_]+)`", row[0])}
    scene.agent.shared.faults.note("here", ValueError("x"))
    scene.network.counts = lambda: tally.counts({}, {}, {})
    await scene.store.create(*machine("a", NETWORK, "True", "PeerAlive"))
    read = await scene.until(lambda read: "k3_nodes" in read)
    assert rows == read.keys()


async def test_what_network_refuses_is_told_beside_what_the_agent_does(scene: Scene) -> None:
    table = page("docs/deploy.md").tables("metric")[0]
    scene.network.counts = lambda: tally.counts({Kind.ANNOUNCEMENT: 7}, {Reason.TOO_MANY: 2, Reason.PORT: 3}, {Bound.PEERS: 4})
    read = await scene.read()
    refused = read["k3_refusals_total"]
    told = {"mdns_announcements": 7, "instances": 2, "machines": 4, "mdns_answers": 0, "candidates": 0, "visits": 0}
    assert {bound: refused.of(bound=bound) for bound in told} == told
    assert read["k3_announcements_unusable_total"].of(why="port") == 3
    [row] = [row[1] for row in table if "k3_refusals_total" in row[0]]
    assert all(f"`{bound}`" in row for bound in tally.counts({}, {}, {})[REFUSALS])
    assert sum(len(counts) for counts in tally.counts({}, {}, {}).values()) < limits.METRIC_VALUES
