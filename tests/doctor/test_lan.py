"""What is concluded from what was heard and asked: certain things are problems, and silence proves nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from k3.agent.facts import Identity
from k3.agent.info import Info
from k3.agent.local import LocalAgent
from k3.core import node, phrases
from k3.core.node import NodeView
from k3.core.observation import Facts
from k3.doctor import examination, lan, names, port, surroundings
from k3.doctor.finding import Finding, Severity, Subject
from k3.doctor.firewall import Firewall
from k3.doctor.lan import Evidence
from k3.doctor.machine import Machine
from k3.doctor.others import Other, heard_by_now
from k3.doctor.surroundings import Network
from k3.network import netlink
from k3.network.hearing import Heard
from k3.network.links import Interface, Links
from k3.network.messages import Announcement, Answered, Endpoint, Impostor, NoAnswer, Refused
from k3.network.netlink import LinkEntry
from k3.settings.structs import Reader

UP = netlink.IFF_UP | netlink.IFF_RUNNING | netlink.IFF_MULTICAST
ETH0 = Interface(name="eth0", index=2, mac="", running=True, addresses=("10.0.0.1",), prefixes=("10.0.0.0/24",))
WEB2 = Other(name="web2", id="b" * 32, addresses=("10.0.0.2",), port=7946, interface="eth0")
SAID = Announcement(instance="web2", node="web2", addresses=("10.0.0.2",), port=7946, id="b" * 32)
START = "k3 network"
ANSWER = Answered(facts=Facts(node="web2", id="b" * 32), endpoint=Endpoint("10.0.0.2", 7946), group=0)
SILENT = NoAnswer("no answer in time")


def machine(*interfaces: Interface, entries: tuple[LinkEntry, ...] = (), **changed: Any) -> Machine:
    made = Machine(
        network=Network(
            links=Links(interfaces),
            entries=entries,
            addressed=frozenset(each.index for each in interfaces if each.addresses),
            routed=("eth0",),
        ),
        identity=Identity("a" * 32),
        has_machine_id=True,
        is_same_installation=lambda _: False,
        boot_id="",
        new_identity="rm -f /etc/machine-id; systemd-machine-id-setup; and restart k3",
        agent=LocalAgent(host="127.0.0.1", port=7946),
    )
    return replace(made, **changed)


def seen(heard: Heard, *others: Other) -> Evidence:
    here, reader = machine(ETH0), Reader()
    return Evidence(machine=here, firewall=Firewall(), blocked=(), heard=(heard,), others=others, reader=reader)


def only(findings: Any) -> Finding:
    (found,) = findings
    assert isinstance(found, Finding)
    return found


@pytest.fixture
def wireless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel calls eth0 Wi-Fi."""
    (tmp_path / "eth0" / "phy80211").mkdir(parents=True)
    monkeypatch.setattr(surroundings, "_CLASS", tmp_path)


def test_an_agent_is_started_on_the_store_that_was_named() -> None:
    start = "k3 network --store etcd://10.0.0.5:2379"
    assert only(port.port(machine(ETH0), None, start)).commands == (start,)


def test_silence_is_no_problem() -> None:
    assert only(lan.multicast(seen(Heard(interface="eth0")))).severity is Severity.NOTE
    other_devices = Heard(interface="eth0", senders=frozenset({"10.0.0.9"}))
    found = only(lan.multicast(seen(other_devices)))
    assert found.severity is Severity.NOTE
    assert "1 other device is" in found.what


def test_where_the_list_has_another_machine_none_is_to_be_started_for_the_first_time() -> None:
    alone = only(lan.multicast(seen(Heard(interface="eth0"))))
    assert "Start k3 on a second machine" in alone.do
    web2 = known("web2")
    found = only(lan.multicast(replace(seen(Heard(interface="eth0")), nodes=(web2,))))
    assert found.do == "Run k3 doctor on another machine of the list, too."
    own = known("web1", id_="a" * 32)
    assert only(lan.multicast(replace(seen(Heard(interface="eth0")), nodes=(own,)))).do == alone.do


@pytest.mark.usefixtures("wireless")
def test_silence_on_wifi_has_a_hint_and_lost_multicast_a_cause() -> None:
    found = only(lan.multicast(seen(Heard(interface="eth0"))))
    assert (found.severity, "client isolation" in found.why) == (Severity.NOTE, True)
    unheard = replace(WEB2, interface="", outcome=ANSWER)
    found = only(lan.multicast(seen(Heard(interface="eth0"), unheard)))
    assert (found.severity, "client isolation" in found.do) == (Severity.PROBLEM, True)


def test_who_answers_and_is_not_heard_has_lost_its_multicast() -> None:
    unheard = replace(WEB2, interface="", outcome=ANSWER)
    found = only(lan.multicast(seen(Heard(interface="eth0"), unheard)))
    assert found.severity is Severity.PROBLEM
    assert "web2 (10.0.0.2)" in found.what
    third = replace(SAID, node="web3", addresses=("10.0.0.3",))
    assert only(lan.multicast(seen(Heard(interface="eth0", machines=(third,)), unheard))).severity is Severity.WARNING
    later = Heard(interface="eth0", senders=frozenset({"10.0.0.2"}))
    assert heard_by_now([unheard], [later])[0].interface == "eth0"
    dead = replace(unheard, outcome=Refused())
    assert heard_by_now([dead], [later])[0].interface == "", "another program speaks there"
    assert heard_by_now([dead], [replace(later, machines=(SAID,))])[0].interface == "eth0"


def test_who_is_heard_late_is_heard() -> None:
    late = replace(WEB2, outcome=ANSWER)
    found = only(lan.multicast(seen(Heard(interface="eth0"), late)))
    assert (found.severity, "1 other machine" in found.what) == (Severity.OK, True)


def test_multicast_that_only_others_send_is_looked_for_in_the_rules() -> None:
    found = only(lan.firewall(replace(seen(Heard(interface="eth0")), firewall=wall("input", "udp"))))
    assert (found.severity, "does not come in on eth0" in found.what) == (Severity.PROBLEM, True)
    assert found.commands == ("nft insert rule inet f c udp dport 5353 accept",)


def test_nobody_is_blamed_for_what_this_machines_firewall_keeps_in() -> None:
    asked = seen(Heard(interface="eth0", machines=(SAID,)), replace(WEB2, outcome=SILENT))
    assert not list(lan.machines(replace(asked, firewall=wall("output", "tcp"))))
    here = machine(ETH0, agent=LocalAgent(host="127.0.0.1", port=7946, is_open=True, is_closed=True, holder="k3 (pid 12)"))
    found = only(port.port(here, None, START, is_walled=wall("output", "tcp").is_closed_here(7946)))
    assert found.severity is Severity.NOTE
    found = only(port.port(here, None, START))
    assert (found.severity, found.subject) == (Severity.PROBLEM, Subject.FIREWALL), "who may not read the rules knows it too"


def wall(hook: str, protocol: str) -> Firewall:
    """A firewall that drops all of a protocol."""
    chain = {"family": "inet", "table": "f", "name": "c", "type": "filter", "hook": hook, "policy": "accept"}
    match = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": protocol}}
    rule = {"family": "inet", "table": "f", "chain": "c", "expr": [match, {"drop": None}]}
    return Firewall(rules=({"chain": chain}, {"rule": rule}))


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (SILENT, "does not answer there"),
        (Refused(), "refuses connections there"),
        (Impostor("web9", "c" * 32), "web9 answers"),
    ],
)
def test_who_is_announced_and_cannot_be_asked_is_named_with_its_place(outcome: Any, word: str) -> None:
    found = list(lan.machines(seen(Heard(interface="eth0", machines=(SAID,)), replace(WEB2, outcome=outcome))))
    assert word in only(found).what
    assert "10.0.0.2:7946" in found[0].what
    assert found[0].severity in {Severity.PROBLEM, Severity.WARNING}
    assert found[0].commands


def entry(name: str, flags: int = UP, **more: Any) -> LinkEntry:
    return LinkEntry(**{"index": 2, "name": name, "flags": flags, **more})


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ((), "no network interface but loopback"),
        ((entry("eth0", netlink.IFF_MULTICAST),), "eth0 is down"),
        ((entry("eth0", netlink.IFF_UP | netlink.IFF_MULTICAST),), "eth0 has no carrier"),
        ((entry("eth0", netlink.IFF_UP | netlink.IFF_RUNNING),), "Multicast is switched off on eth0"),
        ((entry("eth0"),), "eth0 has no address"),
        ((entry("docker0", kind="bridge"), entry("veth12", kind="veth", index=3)), "a container manager's own"),
        ((entry("wg0", UP | netlink.IFF_POINTOPOINT),), "a tunnel (wg0)"),
        ((entry("docker0"), entry("eth0", 0, index=3)), "eth0 is down"),
    ],
)
def test_why_no_interface_can_be_used(entries: tuple[LinkEntry, ...], word: str) -> None:
    found = only(surroundings.interfaces(machine(entries=entries).network))
    assert found.severity is Severity.PROBLEM
    assert word in found.what
    assert found.commands or found.do


def test_a_second_interface_without_its_carrier_is_a_warning_and_dockers_is_nothing() -> None:
    dead = replace(ETH0, name="eth1", index=3, running=False, addresses=("10.1.0.1",), prefixes=("10.1.0.0/24",))
    found = list(surroundings.interfaces(machine(ETH0, dead).network))
    assert [each.severity for each in found] == [Severity.OK, Severity.WARNING]
    docker = machine(ETH0, replace(dead, name="docker0")).network
    assert all(each.severity is Severity.OK for each in surroundings.interfaces(docker))


def test_who_holds_the_port() -> None:
    other = machine(ETH0, agent=LocalAgent(host="127.0.0.1", port=7946, is_open=True, holder="dockerd (pid 12)"))
    found = only(port.port(other, None, START))
    assert (found.severity, "Docker Swarm" in found.why) == (Severity.PROBLEM, True)
    assert found.commands == ("k3 network --listen :7947", "kill 12")
    assert only(port.port(machine(ETH0), None, START)).severity is Severity.NOTE
    frozen = replace(other.agent, is_silent=True, is_stopped=True, holder="k3 (pid 12)")
    assert only(port.port(machine(ETH0, agent=frozen), None, START)).commands == ("kill -CONT 12",)


def test_a_machine_without_an_id_and_one_with_the_same() -> None:
    assert "no machine id" in only(names.identity(machine(ETH0, has_machine_id=False), ())).what
    of_another_user = LocalAgent(host="127.0.0.1", port=7946, info=Info(facts=Facts(node="a")))
    assert only(names.identity(machine(ETH0, has_machine_id=False, agent=of_another_user), ())).severity is Severity.NOTE
    answered = replace(WEB2, outcome=ANSWER)
    copied = machine(ETH0, is_same_installation=lambda _: True)
    assert only(names.identity(copied, [answered])).severity is Severity.WARNING, "the MAC addresses differ"
    same = replace(copied, identity=Identity("b" * 32))
    assert only(names.identity(same, [answered])).severity is Severity.PROBLEM
    assert only(names.identity(machine(ETH0), [answered])).severity is Severity.OK
    twin = replace(WEB2, id="a" * 32, outcome=SILENT)
    found = only(names.identity(machine(ETH0), [twin]))
    assert (found.severity, "announces itself with this machine's identity" in found.what) == (Severity.WARNING, True)
    assert not list(lan.machines(seen(Heard(interface="eth0", machines=(SAID,)), twin))), "no firewall is blamed"


def known(name: str, *, id_: str = "c" * 32, address: str = "10.0.0.9", last_seen: str = "", status: str = "False") -> NodeView:
    notes = {"id": id_, "port": "7946", "seen-by": "web1", **({"lastSeen": last_seen} if last_seen else {})}
    ready = {"type": "Ready", "status": status, "reason": "PeerUnreachable", "message": "no answer", "lastTransitionTime": ""}
    manifest = {
        "metadata": {
            "labels": {"k3.network/managed": "true"},
            "annotations": {f"k3.network/{key}": text for key, text in notes.items()},
        },
        "status": {"addresses": [{"type": "InternalIP", "address": address}], "conditions": [ready]},
    }
    return node.view_manifest(name, manifest)


def test_a_machine_that_is_there_and_shuts_everybody_out_is_told_by_who_does_not_hear_it() -> None:
    down = known("web3")
    shut = Other(name="web3", id=down.id, addresses=down.addresses, port=7946, node=down, outcome=SILENT)
    (found,) = lan.machines(replace(seen(Heard(interface="eth0"), replace(shut, way="filtered")), nodes=(down,)))
    assert found.severity is Severity.PROBLEM
    assert found.commands[0] == "ufw allow 5353/udp"
    assert "ufw allow 7946/tcp" in found.commands
    gone = replace(seen(Heard(interface="eth0"), replace(shut, way="gone")), nodes=(down,), reader=Reader(" --store URL"))
    (found,) = lan.machines(gone)
    assert found.severity is Severity.NOTE, "it may simply be off"
    assert (found.what, found.commands) == ("The store does not call web3 Ready.", ("k3 why --store URL",))


def test_who_takes_the_connection_is_not_behind_a_firewall() -> None:
    busy = replace(WEB2, outcome=SILENT, way="hangs")
    (found,) = lan.machines(seen(Heard(interface="eth0"), busy))
    assert found.severity is Severity.WARNING
    assert "takes the connection" in found.what


@pytest.mark.parametrize(
    ("broadcast", "first", "number"), [("eth0", "ufw allow out 5353/udp", 3), ("", "ufw allow out 5353/udp", 6)]
)
def test_multicast_that_is_not_heard_may_be_kept_in_on_the_other_side(broadcast: str, first: str, number: int) -> None:
    unheard = replace(WEB2, interface="", answers_broadcast=broadcast, outcome=ANSWER)
    (found,) = lan.multicast(seen(Heard(interface="eth0"), unheard))
    assert found.commands[0] == first
    assert len(found.commands) == number


def test_who_only_announces_an_identity_is_no_proven_copy() -> None:
    here = machine(ETH0)
    own = known("web1", id_=here.identity.id, address="10.0.0.1", last_seen="2026-11-27T19:00:00Z", status="True")
    recorded = only(names.identity(here, (), own, (own, known("web2", id_=here.identity.id))))
    assert "web2 (10.0.0.9) has announced itself with this machine's identity" in recorded.what
    announced = only(names.identity(here, (replace(WEB2, id=here.identity.id, outcome=SILENT),)))
    elsewhere = only(names.identity(here, (WEB2, replace(WEB2, name="web3", addresses=("10.0.0.3",)))))
    for found in (recorded, announced, elsewhere):
        assert found.severity is Severity.WARNING
        assert "or something that announces its id" in found.what
        assert found.do.startswith("Look who is at that address")
        assert all(command.startswith("ip neigh show 10.0.0.") for command in found.commands)
    former = known("web0", id_=here.identity.id, last_seen="2026-11-27T18:00:00Z")
    assert only(names.identity(here, (), own, (own, former))).severity is Severity.OK, "it may be this machine's former name"


def test_two_others_that_answer_with_one_identity_are_copies() -> None:
    one, another = (replace(WEB2, outcome=ANSWER), replace(WEB2, name="web3", addresses=("10.0.0.3",), outcome=ANSWER))
    found = only(names.identity(machine(ETH0), (one, another)))
    assert "web2 (10.0.0.2) and web3 (10.0.0.3) answer with one identity" in found.what
    assert (found.severity, found.commands) == (Severity.PROBLEM, ("rm -f /etc/machine-id && systemd-machine-id-setup",))
    assert only(names.identity(machine(ETH0), (one, replace(another, interface="")))).severity is Severity.OK


def test_legacy_tables_that_were_not_followed_are_told_and_never_called_well() -> None:
    found = only(lan.firewall(replace(seen(Heard(interface="eth0")), firewall=Firewall(unfollowed="filter"))))
    assert found.severity is Severity.NOTE
    assert "Legacy tables of iptables are loaded here (filter); their rules were not followed" in found.what


def test_the_name_that_this_machine_has_given_up_is_not_how_others_see_it() -> None:
    here = machine(ETH0)
    former = known("web0", id_=here.identity.id, address="10.0.0.1", last_seen="2026-11-27T18:00:00Z")
    assert former.ready
    former = replace(former, ready=replace(former.ready, status="False", message=phrases.renamed("web0", "web1")))
    own = known("web1", id_=here.identity.id, address="10.0.0.1", last_seen="2026-11-27T19:00:00Z", status="True")
    assert examination.own_node((former, own), here) == own
    assert examination.own_node((former,), here) is None


def test_a_machine_of_the_store_whose_k3_has_ended_is_told_of_and_no_firewall_is_blamed() -> None:
    dead = replace(WEB2, interface="", outcome=Refused(), node=known("web2", id_=WEB2.id, address="10.0.0.2", status="True"))
    found = only(lan.machines(seen(Heard(interface="eth0"), dead)))
    assert (found.severity, "does not answer" in found.what) == (Severity.WARNING, True)
    assert not any("ufw" in each for each in found.commands)
