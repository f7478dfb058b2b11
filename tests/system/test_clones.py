"""A machine that was copied, disk and card, is two machines: for every list, for both owners, and for good."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from k3.network.announce import instance_name
from tests.lab import Host, Lan, mdns, until
from tests.system.agents import Agent, Fleet, is_ready
from tests.system.conftest import MakeFleet
from tests.system.test_names import ONE_STORE, SEPARATE_STORES, events, join, newest, no_traceback, ready_names, rename

pytestmark = [pytest.mark.netns, pytest.mark.slow]

MAC = "08:00:27:8d:c0:4d"
"""What a box brings along for its first card, whichever machine is made of it."""

TOLD = "identity.cloned"


def box(host: Host, *, hostname: str, machine_id: str = "c" * 32) -> None:
    """The same for all machines made of it: host name, machine id, and a card behind NAT with the default route."""
    rename(host, hostname)
    host.set_machine_id(machine_id)
    host.ip(
        "link add nat0 type veth peer name box0",
        "link set box0 multicast off up",
        f"link set nat0 address {MAC} multicast on up",
        "address add 10.0.2.15/24 dev nat0",
        "route replace default via 10.0.2.2 dev nat0",
    )


def clones(fleet: MakeFleet, *hostnames: str) -> Fleet:
    machines = fleet("first", "second", "third", start=False)
    for agent, hostname in zip(machines.agents, hostnames, strict=False):
        agent.host.ip("route delete default")
        box(agent.host, hostname=hostname)
    return machines


def ids_by_address(agent: Agent) -> dict[str, str]:
    """Who is Ready in this list, by the address on the common network."""
    names = ready_names(agent)
    seen = [newest(agent, name).view for name in names]
    return {address: view.id for view in seen for address in view.addresses if address.startswith("10.77.")}


def name_of(agent: Agent) -> str:
    """The name under which an agent is on its own list now; a clone may take another one until it has settled."""
    own = agent.lan.address(agent.host)
    return next((name for name in ready_names(agent) if own in newest(agent, name).view.addresses), "")


def assert_two_machines(machines: Fleet, *, can_meet: bool = True) -> None:
    """Every list has one Node for each machine, with an id of its own; both owners know what to do."""
    wanted = {agent.lan.address(agent.host) for agent in machines.agents}

    def settled() -> bool:
        lists = [ids_by_address(agent) for agent in machines.agents]
        return all(set(each) == wanted and len(set(each.values())) == 3 and each == lists[0] for each in lists)

    until(
        settled,
        what=lambda: "three machines in " + "\n".join(f"{ids_by_address(a)}\n{a.process.text}" for a in machines.agents),
    )
    first, second, third = machines.agents
    for one, other in ((first, second), (second, first)):
        line = one.process.wait_for(TOLD)
        assert f"address={other.lan.address(other.host)}" in line
        assert "systemd-machine-id-setup" in line
        until(lambda one=one: (name_of(one), "Warning") in events(one, "IdentityCloned"), what="the Warning Event")  # type: ignore[misc]
        name = name_of(one)
        if can_meet:  # who cannot reach the other one may say of it that it does not answer, which comes first
            until(lambda one=one, name=name: "Ready (a clone)" in one.run("nodes", name).stdout, what="it in the list")  # type: ignore[misc]
        condition = newest(one, name).condition("k3.network/Cloned")
        assert other.lan.address(other.host) in condition["message"]
        assert "run on one of them: rm -f /etc/machine-id" in condition["message"]
    assert TOLD not in third.process.text
    no_traceback(*machines.agents)


@pytest.mark.parametrize("hostnames", [("web", "web"), ("node1", "node2")], ids=["same-name", "own-names"])
def test_two_machines_of_one_box(fleet: MakeFleet, hostnames: tuple[str, str]) -> None:
    machines = clones(fleet, *hostnames)
    first, second, third = machines.agents
    join(third)
    join(first)
    kept = first.watcher.wait_for(hostnames[0], is_ready).view.id
    join(second)
    assert_two_machines(machines)
    assert newest(first, hostnames[0]).view.id == kept, "the one that was there stays who it is"
    assert len([line for line in second.process.lines if TOLD in line]) == 1


def test_two_machines_of_one_box_at_the_same_instant(fleet: MakeFleet) -> None:
    machines = clones(fleet, "web", "web")
    for agent in machines.agents:
        agent.start()
    assert_two_machines(machines)
    changed = [agent for agent in machines.agents if "identity.changed" in agent.process.text]
    assert len(changed) <= 1


def test_a_clone_stays_who_it_became(fleet: MakeFleet) -> None:
    machines = clones(fleet, "web", "web")
    first, second, third = machines.agents
    for agent in (third, first, second):
        join(agent)
    assert_two_machines(machines)
    before = ids_by_address(third)
    for agent in (second, first):
        agent.stop()
    for agent in (first, second):
        join(agent)
    assert_two_machines(machines)
    assert ids_by_address(third) == before


def test_a_clone_of_a_clone_with_all_its_state(fleet: MakeFleet, shared: bool) -> None:
    """What sets the first clone apart was copied along."""
    machines = clones(fleet, "web", "web")
    first, second, third = machines.agents
    for agent in (third, first, second):
        join(agent)
    assert_two_machines(machines)
    apart = newest(third, next(name for name in ready_names(third) if name.startswith("web-"))).view.id
    for agent in machines.agents:
        agent.stop()
    for file in second.path.parent.glob("*") if not shared else ():
        # Not by this process, which watches the file: it would let go of its locks there (POSIX, fcntl(2)).
        subprocess.run(["cp", file, first.path.parent / file.name], check=True)
    state = "/var/lib/k3/clones"
    shutil.copy(second.host.path(state), first.host.path(state))
    for agent in (third, second, first):
        join(agent)
    assert_two_machines(machines)
    assert apart in ids_by_address(third).values()


def test_the_cure(fleet: MakeFleet) -> None:
    """One of the two gets a machine id of its own, as both were told: nothing is left of it."""
    machines = clones(fleet, "node1", "node2")
    first, second, third = machines.agents
    for agent in (third, first, second):
        join(agent)
    assert_two_machines(machines)
    second.stop()
    second.host.set_machine_id("e" * 32)
    join(second)
    until(lambda: "clone" not in first.run("nodes").stdout + second.run("nodes").stdout, what="nothing said of clones")
    assert TOLD not in second.process.text
    third.watcher.wait_for("node2", lambda sight: is_ready(sight) and "k3.network/clone-of" not in sight.view.annotations)


def nothing(_host: Host, _lan: Lan) -> None:
    """A mere restart."""


def moved(host: Host, lan: Lan) -> None:
    lan.nic(host).readdress("10.77.1.77/24")


@pytest.mark.parametrize("change", [nothing, moved])
def test_a_machine_that_restarts_or_moves_is_no_clone_of_itself(
    fleet: MakeFleet, lan: Lan, change: Callable[[Host, Lan], None]
) -> None:
    """Killed without a goodbye, so that its last run is in every cache."""
    machines = fleet("a", "b")
    a, b = machines.agents
    who = newest(b, "a").view.id
    a.kill()
    change(a.host, lan)
    join(a)
    b.watcher.wait_for("a", lambda sight: is_ready(sight) and sight.view.pid == a.process.pid)
    change(a.host, lan)
    until(lambda: is_ready(b.watcher.last("a")))
    assert newest(b, "a").view.id == who
    for agent in machines.agents:
        assert TOLD not in agent.process.text


@ONE_STORE
def test_clones_that_share_nothing_but_a_store(fleet: MakeFleet, lan: Lan) -> None:
    """Two sites: neither hears or reaches the other, and both write the same Node."""
    machines = clones(fleet, "web", "web")
    first, second, third = machines.agents
    lan.partition([first.host], [second.host])
    for agent in (third, first, second):
        join(agent)
    assert_two_machines(machines, can_meet=False)
    assert ["identity.changed" in agent.process.text for agent in (first, second)].count(True) == 1


ANSWER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
server = http.server.ThreadingHTTPServer(("", 7946), Answer)
print("ready", flush=True)
server.serve_forever()
"""

RELAY = """
import socket, sys
server = socket.create_server(("", 7946))
print("ready", flush=True)
while True:
    inside, _ = server.accept()
    with inside, socket.create_connection((sys.argv[1], 7946)) as outside:
        outside.sendall(inside.recv(65536))
        while data := outside.recv(65536):
            inside.sendall(data)
        print("relayed", flush=True)
"""


def claim(host: Host, lan: Lan, info: dict[str, str]) -> None:
    """Announce another agent's very instance from this host."""
    txt = {key: str(info[key]) for key in ("node", "port", "pid", "id", "boot")}
    mdns.send(
        host,
        [mdns.announcement(instance_name(info["node"], info["id"]), address=lan.address(host), port=7946, txt=txt)],
    )


def info_of(agent: Agent) -> dict[str, str]:
    found: dict[str, str] = json.loads(agent.host.fetch("http://127.0.0.1:7946/info"))
    return found


@SEPARATE_STORES
def test_clones_that_meet_while_both_run(fleet: MakeFleet, lan: Lan) -> None:
    """A cut heals: exactly one of them gets another id, and both are told."""
    machines = clones(fleet, "web", "web")
    first, second, third = machines.agents
    lan.partition([first.host], [second.host])
    for agent in (third, first, second):
        join(agent)
    lan.partition()
    assert_two_machines(machines)
    assert ["identity.changed" in agent.process.text for agent in (first, second)].count(True) == 1


@SEPARATE_STORES
def test_who_answers_with_a_machines_id_and_is_no_copy_of_it_changes_nothing(fleet: MakeFleet, lan: Lan) -> None:
    """All that the machine itself answers, word for word, but for the addresses; and all of it, at another address."""
    (agent,) = fleet("web").agents
    liar = lan.host("liar")
    info = info_of(agent)
    for said in (info | {"addrs": [lan.address(liar)]}, info):
        answering = liar.start([sys.executable, "-c", ANSWER, json.dumps(said)])
        answering.wait_for("ready")
        claim(liar, lan, info)
        answering.wait_for("GET /info")
        claim(liar, lan, info | {"boot": "f" * 16})
        answering.wait_for("GET /info", skip=1)
        answering.kill()
    assert info_of(agent)["id"] == info["id"]
    for sign in (TOLD, "identity.changed", "name.lost"):
        assert sign not in agent.process.text
    assert ready_names(agent) == {"web"}


@SEPARATE_STORES
def test_a_way_that_leads_back_is_no_clone(fleet: MakeFleet, lan: Lan) -> None:
    """A router that turns what comes from inside around: another address, and this machine answers there."""
    (agent,) = fleet("web").agents
    router = lan.host("router")
    relay = router.start([sys.executable, "-c", RELAY, lan.address(agent.host)])
    relay.wait_for("ready")
    claim(router, lan, info_of(agent))
    relay.wait_for("relayed")
    claim(router, lan, info_of(agent) | {"boot": "f" * 16})
    relay.wait_for("relayed", skip=2)
    assert TOLD not in agent.process.text
