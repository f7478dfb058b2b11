"""Two machines, one name: both stay visible, a person's choice is refused, and nobody silently replaces anybody."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from k3.core.objects import EVENT
from k3.core.store import Store
from tests.lab import Host, Lan, Process, until
from tests.system.agents import Agent, Sight, is_ready
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ON_THE_LIST = "This machine is on the list"
SECOND_NAME = re.compile(r"web-[0-9a-f]{6}")
ONE_STORE = pytest.mark.parametrize("shared", [True], ids=["one-store"], indirect=True)
SEPARATE_STORES = pytest.mark.parametrize("shared", [False], ids=["separate-stores"], indirect=True)


def rename(host: Host, hostname: str) -> None:
    host.run(["sh", "-c", 'printf "%s" "$1" > /proc/sys/kernel/hostname', "sh", hostname])


def namesakes(fleet: MakeFleet) -> list[Agent]:
    """Two machines that are both called web."""
    pair = fleet("first", "second", start=False).agents
    for agent in pair:
        rename(agent.host, "web")
    return pair


def join(agent: Agent, *options: str, env: Mapping[str, str] | None = None) -> None:
    """Start an agent and wait until its machine is a Node."""
    agent.start(*options, env=env).wait_for(ON_THE_LIST)


def ready_names(agent: Agent) -> set[str]:
    """Who is Ready in this agent's view now."""
    return agent.watcher.ready()


def both(agent: Agent, name: str = "web") -> str:
    """Wait until this view shows the name and one second name, both Ready; returns the second."""

    def second() -> str:
        names = ready_names(agent)
        others = [other for other in names if re.fullmatch(rf"{name}-[0-9a-f]{{6}}", other)]
        return others[0] if name in names and len(others) == 1 else ""

    return until(second, what=f"{name} and a second one in the view of {agent.name}")


def newest(agent: Agent, name: str) -> Sight:
    found = agent.watcher.last(name)
    assert found is not None
    return found


def ids(agent: Agent, name: str) -> set[str]:
    """Every identity this view ever showed under a name."""
    return {sight.view.id for sight in agent.watcher.of(name)}


def events(agent: Agent, reason: str) -> list[tuple[str, str]]:
    """Node and type of every Event with this reason in the agent's store."""

    async def read(store: Store) -> list[dict[str, Any]]:
        return [item.manifest() for item in (await store.list(EVENT)).objects]

    return [(each["involvedObject"]["name"], each["type"]) for each in agent.in_store(read) if each["reason"] == reason]


def no_traceback(*agents: Agent) -> None:
    for agent in agents:
        for run in agent.runs:
            assert "Traceback" not in run.text
            assert "our fault" not in run.text


# --- one host name, two machines


def test_the_second_of_a_name_goes_on_under_another(fleet: MakeFleet) -> None:
    first, second = namesakes(fleet)
    join(first)
    holder = newest_when_there(first, "web")
    join(second)
    names = {both(agent) for agent in (first, second)}
    assert len(names) == 1
    name = names.pop()
    for agent in (first, second):
        assert ids(agent, "web") == {holder.view.id}, "somebody replaced the holder"
        assert name == f"web-{newest(agent, name).view.id[:6]}"
        assert newest(agent, "web").view.addresses == (first.lan.address(first.host),)
        assert newest(agent, name).view.addresses == (second.lan.address(second.host),)
    until(lambda: (name, "Warning") in events(second, "NameConflict"), what="the Warning Event")
    assert second.process.wait_for("name.taken")
    assert "name.taken" not in first.process.text
    no_traceback(first, second)


def newest_when_there(agent: Agent, name: str) -> Sight:
    return agent.watcher.wait_for(name, is_ready)


def both_are_listed(agent: Agent, other: Agent) -> bool:
    """Whether a list on a store of its own shows its machine under the name, and the other one beside it."""
    its, others = (each.lan.address(each.host) for each in (agent, other))
    second = f"web-{info_id(other)[:6]}"
    names = {name: newest(agent, name).view.addresses for name in ready_names(agent)}
    return names == {"web": (its,), second: (others,)}


def info_id(agent: Agent) -> str:
    found: str = json.loads(agent.host.fetch("http://127.0.0.1:7946/info"))["id"]
    return found


def settled_as_two(pair: list[Agent], *, shared: bool) -> None:
    """On one store one of them has the name and the other its second name; on separate ones both have it, and list both."""
    if not shared:
        first, second = pair
        until(lambda: both_are_listed(first, second) and both_are_listed(second, first), what="both in both lists")
        for agent, other in ((first, second), (second, first)):
            until(lambda agent=agent, other=other: said_beside(agent, other), what="the Warning Event")  # type: ignore[misc]
            assert "name.contested" in agent.process.text
            for moved in ("name.lost", "name.taken"):
                assert moved not in agent.process.text
        return
    names = {both(agent) for agent in pair}
    until(lambda: len({newest(agent, "web").view.id for agent in pair}) == 1, what="one holder in both views")
    assert {both(agent) for agent in pair} == names
    assert len(names) == 1
    (name,) = names
    loser = next(agent for agent in pair if agent.lan.address(agent.host) in newest(agent, name).view.addresses)
    keeper = next(agent for agent in pair if agent is not loser)
    until(lambda: (name, "Warning") in events(loser, "NameConflict"), what="the Warning Event")
    for agent in pair:
        assert newest(agent, "web").view.addresses == (keeper.lan.address(keeper.host),)


def said_beside(agent: Agent, other: Agent) -> bool:
    return (f"web-{info_id(other)[:6]}", "Warning") in events(agent, "NameConflict")


def test_two_of_a_name_at_the_same_instant(fleet: MakeFleet, shared: bool) -> None:
    """On one store one of them keeps it, whichever; once both are there, neither moves again."""
    pair = namesakes(fleet)
    for agent in pair:
        agent.start()
    for agent in pair:
        agent.process.wait_for(ON_THE_LIST)
    # Where one of them was so late that it heard the other one, it has chosen another name before it said anything.
    settled_as_two(pair, shared=shared or any("name.taken" in agent.process.text for agent in pair))
    assert all(agent.process.running for agent in pair)
    no_traceback(*pair)


def test_a_cut_that_heals_between_two_of_a_name(fleet: MakeFleet, shared: bool) -> None:
    """Each was alone with the name when it started, as far as it could know."""
    pair = namesakes(fleet)
    lan = pair[0].lan
    join(pair[0])
    lan.partition([pair[0].host], [pair[1].host])
    join(pair[1])
    lan.partition()
    settled_as_two(pair, shared=shared)
    no_traceback(*pair)


def freeze_between_writes(process: Process, file: Path) -> None:
    """Stop an agent while it does not hold the lock of its SQLite file, which others want to write to."""

    def is_frozen() -> bool:
        process.freeze()
        with closing(sqlite3.connect(file, timeout=0.1, isolation_level=None)) as store:
            try:
                store.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.thaw()
                return False
            store.execute("ROLLBACK")
        return True

    until(is_frozen, what="a moment between two writes")


@ONE_STORE
@pytest.mark.parametrize("options", [("--node-name", "web"), ()], ids=["chosen", "host-name"])
def test_a_machine_that_slept_while_another_got_its_name_goes_on_under_its_second_one(
    fleet: MakeFleet, options: tuple[str, ...]
) -> None:
    """The store's Node says so, by compare-and-swap; and an agent that was on the list does not end."""
    first, second = namesakes(fleet)
    join(first, *options)
    freeze_between_writes(first.process, first.path)
    second.start(*options)
    second.process.wait_for("name.waiting")
    second.process.wait_for(ON_THE_LIST)
    first.process.thaw()
    first.process.wait_for("name.lost")
    name = both(second)
    assert name == f"web-{info_id(first)[:6]}"
    assert newest(second, "web").view.id == info_id(second)
    until(lambda: (name, "Warning") in events(first, "NameConflict"), what="the Warning Event")
    assert first.process.running
    no_traceback(first, second)


@SEPARATE_STORES
def test_a_third_machine_lists_both_of_a_name_the_first_one_under_it(fleet: MakeFleet) -> None:
    """Also after it has started again, and whoever speaks first then."""
    first, second, third = fleet("first", "second", "third", start=False).agents
    for agent in (first, second):
        rename(agent.host, "web")
    join(third)
    join(first)
    third.watcher.wait_for("web", is_ready)
    first.lan.partition([first.host], [second.host])
    join(second)
    first.lan.partition()
    wanted = {"web": info_id(first), f"web-{info_id(second)[:6]}": info_id(second)}

    def listed() -> bool:
        return {name: newest(third, name).view.id for name in ready_names(third) - {"third"}} == wanted

    until(listed, what=lambda: f"{wanted}, not {ready_names(third)}\n{third.process.text[-3000:]}")
    third.stop()
    join(third)
    until(listed)
    assert ids(third, "web") == {info_id(first)}
    no_traceback(first, second, third)


# --- a name that a person chose


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_a_chosen_name_that_is_held_is_refused(fleet: MakeFleet, way: str) -> None:
    first, second = fleet("web", "other", start=False).agents
    join(first)
    holder = newest_when_there(first, "web")
    told = {"flag": ["--node-name", "web"], "environment": []}[way]
    env = {"NODE_NAME": "web"} if way == "environment" else None
    done = second.host.run(["k3", "network", *told, *second._store], env=env)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1), done.stdout + done.stderr
    assert done.stderr.startswith('k3: node name "web" is held by another live machine')
    assert f"(id {holder.view.id[:8]}) at {first.lan.address(first.host)} port 7946" in done.stderr
    assert ids(first, "web") == {holder.view.id}
    assert is_ready(newest(first, "web"))
    assert ready_names(first) == {"web"}


@ONE_STORE
def test_two_choose_one_name_at_the_same_instant(fleet: MakeFleet) -> None:
    """Exactly one goes away, with exit code 5 and one line; the other stays, Ready."""
    pair = fleet("a", "b", start=False).agents
    for agent in pair:
        agent.start("--node-name", "web")
    until(lambda: [agent.process.running for agent in pair].count(False) == 1, what="one gave way")
    loser, keeper = sorted(pair, key=lambda agent: agent.process.running)
    assert loser.process.wait() == 5
    assert [line for line in loser.process.lines if line.startswith("k3: ")] == [loser.process.lines[-1]]
    assert 'node name "web" is held by another live machine' in loser.process.lines[-1]
    assert "never awaited" not in loser.process.text
    keeper.process.wait_for(ON_THE_LIST)
    own = f"{keeper.lan.address(keeper.host)}"
    keeper.watcher.wait_for("web", lambda sight: is_ready(sight) and own in sight.view.addresses)
    assert keeper.process.running


@SEPARATE_STORES
def test_two_choose_one_name_at_the_same_instant_on_stores_of_their_own(fleet: MakeFleet) -> None:
    """The cut is there so that neither hears the other before it has said anything itself, however slow the machine."""
    pair = fleet("a", "b", start=False).agents
    lan = pair[0].lan
    lan.partition([pair[0].host], [pair[1].host])
    for agent in pair:
        join(agent, "--node-name", "web")
    lan.partition()
    settled_as_two(pair, shared=False)
    no_traceback(*pair)


@SEPARATE_STORES
def test_a_chosen_name_that_is_only_claimed_is_refused_once(fleet: MakeFleet) -> None:
    pair = fleet("web", "other", start=False).agents
    first, second = pair
    join(first)
    assert second.start("--node-name", "web").wait() == 5
    assert "or start k3 again, to use the name beside it" in second.process.lines[-1]
    join(second, "--node-name", "web")
    settled_as_two(pair, shared=False)


def test_the_environment_names_the_node(fleet: MakeFleet) -> None:
    first, second = fleet("a", "b", start=False).agents
    join(first, env={"NODE_NAME": "from-environment"})
    join(second, "--node-name", "from-flag", env={"NODE_NAME": "ignored"})
    for agent in (first, second):
        until(lambda a=agent: ready_names(a) == {"from-environment", "from-flag"})  # type: ignore[misc]


# --- clones and reinstalls


def test_a_cloned_machine_is_another_machine(lan: Lan, fleet: MakeFleet) -> None:
    """Same disk image: host name, machine id. The network card is its own."""
    pair = namesakes(fleet)
    for agent in pair:
        agent.host.set_machine_id("c" * 32)
        join(agent)
    names = {both(agent) for agent in pair}
    assert len(names) == 1
    name = names.pop()
    for agent in pair:
        assert newest(agent, "web").view.id != newest(agent, name).view.id
        assert newest(agent, "web").view.addresses == (lan.address(pair[0].host),)
    no_traceback(*pair)


@SEPARATE_STORES
def test_a_disk_cloned_with_its_store(lan: Lan, fleet: MakeFleet) -> None:
    """The clone finds the original's Node in its own file, and the file says that it is the same store."""
    original, clone = namesakes(fleet)
    join(original)
    original.stop()
    shutil.copy(original.path, clone.path)
    join(original)
    join(clone)
    names = {both(agent) for agent in (original, clone)}
    assert len(names) == 1
    for agent in (original, clone):
        assert newest(agent, "web").view.addresses == (lan.address(original.host),)
    no_traceback(original, clone)


def reinstall(host: Host, _lan: Lan) -> None:
    host.run(["sh", "-c", "rm -rf /var/lib/k3/*"])
    host.set_machine_id("d" * 32)


def new_card(host: Host, lan: Lan) -> None:
    lan.nic(host).recreate()


@pytest.mark.parametrize(
    "change",
    [reinstall, new_card],
    ids=["new-machine-id", "new-network-card"],
)
def test_a_machine_that_comes_back_with_another_identity(
    fleet: MakeFleet, lan: Lan, change: Callable[[Host, Lan], None]
) -> None:
    """The old one is dead, so its Node is taken over in place: same uid, what people put on it stays."""
    machines = fleet("web", "peer")
    web, peer = machines.agents
    before = newest(peer, "web")
    assert peer.run("nodes", "web", "-o", "name").returncode == 0
    web.kill()
    change(web.host, lan)
    join(web)
    after = peer.watcher.wait_for("web", lambda s: is_ready(s) and s.view.id not in {"", before.view.id})
    assert after.manifest["metadata"]["uid"] == before.manifest["metadata"]["uid"]
    assert ids(peer, "web") == {before.view.id, after.view.id}
    until(lambda: ("web", "Warning") in events(peer, "IdentityChanged"), what="the Event")
    until(lambda: ready_names(peer) == {"web", "peer"}, what="nobody else")
    no_traceback(web, peer)


# --- what a name may be


@SEPARATE_STORES
@pytest.mark.parametrize("hostname", ["-web", "web..x", "wéb", "web-"])
def test_a_host_name_that_no_node_can_have(fleet: MakeFleet, hostname: str) -> None:
    (agent,) = fleet("placeholder", start=False).agents
    rename(agent.host, hostname)
    done = agent.host.run(["k3", "network"])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stdout + done.stderr
    assert "cannot be a Node's name" in done.stderr
    assert "--node-name" in done.stderr
    join(agent, "--node-name", "good")


@SEPARATE_STORES
@pytest.mark.parametrize(("hostname", "name"), [("WEB_One", "web-one"), ("web.example.org", "web.example.org")])
def test_a_host_name_becomes_a_nodes_name(fleet: MakeFleet, hostname: str, name: str) -> None:
    first, second = fleet("x", "y", start=False).agents
    rename(first.host, hostname)
    join(first)
    join(second)
    for agent in (first, second):
        until(lambda a=agent: ready_names(a) == {name, "y"})  # type: ignore[misc]


@SEPARATE_STORES
def test_the_longest_name_there_may_be(fleet: MakeFleet) -> None:
    """250 characters: too many for an instance's label, so the text record says it; the whole name decides who holds it."""
    name = ".".join(["n" * 63] * 3 + ["n" * 58])
    assert len(name) == 250
    first, second = fleet("a", "b", start=False).agents
    join(first, "--node-name", name)
    join(second)
    for agent in (first, second):
        until(lambda a=agent: ready_names(a) == {name, "b"})  # type: ignore[misc]
    another = ["timeout", "-s", "INT", "20", "k3", "network", "--node-name", name, "--listen", ":7947", "--store"]
    # On a busy machine the holder may answer later than a start waits.
    attempts = (second.host.run([*another, f"sqlite:///run/{number}.db"]) for number in range(5))
    assert any(done.returncode == 5 for done in attempts)
    done = second.host.run(["k3", "network", "--node-name", f"{name}abc", "--store", "sqlite:///run/x.db"])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "253 characters do not fit into an mDNS announcement, expected at most 250" in done.stderr


@SEPARATE_STORES
@pytest.mark.parametrize("name", ["Web", "a_b", "a/b", "..", "web.", "a b", "\x1b[31m", "n" * 254, "w\u00e9b"])
def test_a_chosen_name_that_no_node_can_have(fleet: MakeFleet, name: str) -> None:
    (agent,) = fleet("a", start=False).agents
    for where, argv, env in (("--node-name", ["--node-name", name], None), ("NODE_NAME", [], {"NODE_NAME": name})):
        done = agent.host.run(["k3", "network", *argv], env=env)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert f"{where}: bad value" in done.stderr
        assert "\x1b" not in done.stderr


# --- an address is not a place


@ONE_STORE
def test_a_holder_at_another_site_with_the_same_addresses_keeps_its_name(fleet: MakeFleet) -> None:
    """At the recorded address somebody else answers here; the holder's own agent goes on writing to the store."""
    (web,) = fleet("web").agents
    with Lan() as elsewhere:
        stranger, newcomer = elsewhere.host("stranger"), elsewhere.host("newcomer")
        assert elsewhere.address(stranger) == web.lan.address(web.host)
        stranger.start(["k3", "network", "--store", "memory://"]).wait_for(ON_THE_LIST)
        argv = ["k3", "network", "--peer-ttl", "5s", *web._store]
        done = newcomer.run([*argv, "--node-name", "web"])
        assert done.returncode == 5, done.stdout + done.stderr
        assert "held by another live machine" in done.stderr
        assert "on another network (10.77.1.1)" in done.stderr
        assert "name.waiting" in done.stderr
        rename(newcomer, "web")
        second = newcomer.start(argv)
        line = second.wait_for("name.taken")
        assert 'held="on another network (10.77.1.1)"' in line
        assert "rename one of the two machines" in line
        second.wait_for(ON_THE_LIST)
    assert len(ids(web, "web")) == 1


@ONE_STORE
def test_a_dead_holder_on_another_network_gives_its_name_up(fleet: MakeFleet) -> None:
    """Nobody is left to say that it is down, so the store is watched for as long as a live machine might be silent."""
    (web,) = fleet("web").agents
    former = newest(web, "web").view.id
    web.kill()
    with Lan("10.88.1.0/24") as elsewhere:
        newcomer = elsewhere.host("newcomer")
        process = newcomer.start(["k3", "network", "--peer-ttl", "5s", "--node-name", "web", *web._store])
        process.wait_for("name.waiting")
        process.wait_for(ON_THE_LIST)
        web.watcher.wait_for("web", lambda sight: is_ready(sight) and sight.view.id not in {"", former})
