"""A stranger that answers: it claims a machine's name, at the start and later, and moves no machine that has said its own."""

import json
import sys
from collections.abc import Callable
from itertools import count

import pytest

from tests.lab import Host, Lan, Process, mdns, until
from tests.system.agents import Agent, is_ready
from tests.system.conftest import MakeFleet
from tests.system.test_names import ONE_STORE, SEPARATE_STORES, join, newest, no_traceback, ready_names

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LIAR_ID = "f" * 32
TTLS = count(4_000)
SECOND = "web-ffffff"
CHOSEN = ("--node-name", "web")
ANSWER = """
import http.server, json, sys, time
said, began_at = json.loads(sys.argv[1]), time.monotonic()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        runs = time.monotonic() - began_at if sys.argv[2] == "runs" else 0
        self.wfile.write(json.dumps(said | {"uptime": said["uptime"] + runs}).encode())
server = http.server.ThreadingHTTPServer(("", 7946), Answer)
print("ready", flush=True)
server.serve_forever()
"""
WAYS = pytest.mark.parametrize("way", ["canned", "runs"])


@pytest.fixture
def mallory(lan: Lan) -> Host:
    return lan.host("mallory", addresses=["10.77.1.66/24"])


def lie(mallory: Host, lan: Lan, *, way: str, name: str = "web", store: str = "") -> Process:
    """Answer any question as a machine of this name, up for thirty years, and announce it from now on."""
    said = {"node": name, "port": 7946, "pid": 1, "addrs": [lan.address(mallory)], "id": LIAR_ID, "uptime": 999_999_000}
    said |= {"boot": "b" * 16, "store": store} if store else {"boot": "b" * 16}
    process = mallory.start([sys.executable, "-c", ANSWER, json.dumps(said), way])
    process.wait_for("ready")
    announce(mallory, lan, name)
    return process


def announce(mallory: Host, lan: Lan, name: str = "web") -> None:
    txt = {"node": name, "port": "7946", "pid": "1", "id": LIAR_ID, "boot": "b" * 16}
    # Not the same bytes again: zeroconf passes over those for a second, even if nobody listened yet when they first came.
    packets = [
        mdns.announcement(f"{name}-{LIAR_ID[:8]}", address=lan.address(mallory), port=7946, txt=txt, ttl_seconds=next(TTLS))
        for _ in range(3)
    ]
    mdns.send(mallory, packets)


def info_of(agent: Agent) -> dict[str, str]:
    found: dict[str, str] = json.loads(agent.host.fetch("http://127.0.0.1:7946/info"))
    return found


def stays(agent: Agent, others: list[Agent]) -> None:
    """The machine goes on under its name and id, on its own list and on the others', with the liar beside it."""
    who = info_of(agent)
    assert who["node"] == "web"

    def listed(at: Agent) -> bool:
        return {"web", SECOND} <= ready_names(at) and newest(at, "web").view.id == who["id"]

    for each in (agent, *others):
        until(lambda each=each: listed(each), what=lambda each=each: f"{ready_names(each)}\n{each.process.text[-3000:]}")  # type: ignore[misc]
        assert newest(each, SECOND).view.id == LIAR_ID
    assert agent.process.running
    for sign in ("name.lost", "name.taken", "identity.changed"):
        assert sign not in agent.process.text
    no_traceback(agent, *others)


@WAYS
@pytest.mark.parametrize("options", [CHOSEN, ()], ids=["chosen", "host-name"])
def test_no_answer_moves_a_machine_that_is_on_its_list(
    fleet: MakeFleet, lan: Lan, mallory: Host, way: str, options: tuple[str, ...]
) -> None:
    """Whatever uptime it claims, and although it says that it writes to the same store."""
    web, other = fleet("web", "other", start=False).agents
    join(other)
    join(web, *options)
    other.watcher.wait_for("web", is_ready)
    liar = lie(mallory, lan, way=way, store=info_of(web)["store"])
    stays(web, [other])
    assert web.process.text.count("name.contested") == 1
    liar.kill()


@WAYS
@pytest.mark.parametrize("options", [CHOSEN, ()], ids=["chosen", "host-name"])
def test_a_machine_that_had_the_name_starts_under_it_again(
    fleet: MakeFleet, lan: Lan, mallory: Host, way: str, options: tuple[str, ...]
) -> None:
    (web,) = fleet("web", start=False).agents
    join(web, *options)
    web.stop()
    liar = lie(mallory, lan, way=way)
    join(web, *options)
    announce(mallory, lan)
    stays(web, [])
    liar.kill()


@SEPARATE_STORES
def test_a_canned_answer_stops_no_machine(fleet: MakeFleet, lan: Lan, mallory: Host) -> None:
    (web,) = fleet("web", start=False).agents
    liar = lie(mallory, lan, way="canned")
    web.start(*CHOSEN)
    announce(mallory, lan)
    web.process.wait_for("This machine is on the list")
    announce(mallory, lan)
    stays(web, [])
    liar.kill()


def start_while(agent: Agent, say: Callable[[], None], *options: str) -> None:
    """Start it, and go on announcing until it has heard that in the moment in which it listens, or is on its list."""
    agent.start(*options)

    def is_past_it() -> bool:
        say()
        return not agent.process.running or "This machine is on the list" in agent.process.text

    until(is_past_it, every_seconds=0.1)


def test_a_liar_that_answers_properly_stops_a_machine_once(fleet: MakeFleet, lan: Lan, mallory: Host) -> None:
    """Nothing tells it from a machine with a store of its own. Others have it on their list by then."""
    web, other = fleet("web", "other", start=False).agents
    join(other)
    liar = lie(mallory, lan, way="runs")
    other.watcher.wait_for("web", is_ready)
    start_while(web, lambda: announce(mallory, lan), *CHOSEN)
    assert web.process.wait() == 5, web.process.text
    assert "or start k3 again, to use the name beside it" in web.process.lines[-1]
    start_while(web, lambda: announce(mallory, lan), *CHOSEN)
    web.process.wait_for("This machine is on the list")
    until(lambda: {"web", "other"} < ready_names(web), what=lambda: f"{ready_names(web)}\n{web.process.text[-3000:]}")
    until(lambda: len(ready_names(other)) == 3, what=lambda: f"{ready_names(other)}\n{other.process.text[-3000:]}")
    assert "Traceback" not in web.process.text  # the run before ended with an error, which the log traces where it is asked to
    no_traceback(other)
    liar.kill()


@ONE_STORE
def test_a_name_that_is_only_announced_stops_nobody(fleet: MakeFleet, lan: Lan, mallory: Host) -> None:
    (web,) = fleet("web", start=False).agents
    start_while(web, lambda: announce(mallory, lan), *CHOSEN)
    web.process.wait_for("This machine is on the list")
    assert info_of(web)["node"] == "web"
