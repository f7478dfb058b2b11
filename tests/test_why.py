"""Why a Node is as it is: for each rule, the cause in words, what to do, and nothing that the record does not say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k3.core import node as nodes
from k3.core import phrases
from k3.core.documents import stand_in
from k3.core.freshness import WrongClock
from k3.core.node import NodeView
from k3.core.objects import Manifest
from k3.core.times import precise_timestamp, timestamp
from k3.view import node_table
from k3.view.cells import Moment
from k3.view.findings import Asked, Clocks, Fleet, Record
from k3.view.why import Explanation, explain

NOW = datetime(2026, 11, 23, 12, 4, 34, tzinfo=UTC)
RUN, ID = "b" * 16, "2" * 32


def ago(seconds: float) -> str:
    return timestamp(NOW - timedelta(seconds=seconds))


def condition(type_: str, status: str, reason: str, message: str = "", *, since: float = 10) -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago(since)}


def network(
    status: str = "True",
    reason: str = "PeerAlive",
    message: str = "answered its identity probe",
    *others: Any,
    **notes: str | None,
) -> Manifest:
    """A Node of network's, last known alive by beta 5 s ago; `notes` replace annotations, None takes one away."""
    found = {"peer-ttl": "90s", "port": "7946", "id": ID, "boot": RUN, "agent": RUN, "links": "10.0.0.0/24"}
    found |= {"lastSeen": precise_timestamp(NOW - timedelta(seconds=5)), "seen-by": "beta", "seen-run": "c" * 16}
    changed = {key.replace("_", "-"): text for key, text in notes.items()}
    return {
        "metadata": {
            "name": "web1",
            "labels": {"k3.network/managed": "true"},
            "annotations": {f"k3.network/{key}": text for key, text in {**found, **changed}.items() if text is not None},
        },
        "status": {
            "addresses": [{"type": "Hostname", "address": "web1"}, {"type": "InternalIP", "address": "10.0.0.7"}],
            "conditions": [condition("Ready", status, reason, message), *others],
        },
    }


def mirrored(status: str, reason: str, message: str, *others: Any, **spec: Any) -> Manifest:
    """A Node of discovery's."""
    notes = {"service": "k3", "service-id": "k3-web1", "consul-node": "web1", "datacenter": "dc1"}
    notes |= {"lastSeen": precise_timestamp(NOW - timedelta(seconds=5)), "seen-by": "beta"}
    return {
        "metadata": {
            "name": "web1",
            "labels": {"k3.discovery/managed": "true"},
            "annotations": {f"k3.discovery/{key}": text for key, text in notes.items()},
        },
        "spec": spec,
        "status": {"conditions": [condition("Ready", status, reason, message), *others]},
    }


def kubelets(status: str, reason: str, message: str, *others: Any) -> Manifest:
    """A Node that a kubelet reports."""
    ready = condition("Ready", status, reason, message) | {"lastHeartbeatTime": ago(60)}
    return {
        "metadata": {"name": "web1"},
        "status": {"conditions": [ready, *others], "nodeInfo": {"kubeletVersion": "v1.34.1"}},
    }


def other(name: str, **notes: str) -> NodeView:
    """Another machine of network's, whose agent writes to the store."""
    manifest = network(agent="a" * 16, boot="a" * 16, id="1" * 32, **notes)
    return nodes.view_manifest(name, manifest)


def why(manifest: Manifest, *, is_observed: bool = True, fleet: Fleet | None = None, **known: Any) -> Explanation:
    reading = node_table.read(manifest, Moment(NOW, is_observed))
    found = fleet or Fleet.of([other("beta"), other("gamma")], Clocks())
    return explain(Record(name=manifest.get("metadata", {}).get("name", "web1"), reading=reading, fleet=found, **known))


def unreachable(status: str = "False") -> dict[str, str]:
    return condition("k3.network/Reachable", status, "ProbeFailed", since=75)


CASES: list[tuple[Callable[[], Manifest], str, tuple[str, ...], str]] = [
    (
        lambda: network("False", "PeerUnreachable", "no answer for 90s", unreachable(), lastSeen=ago(90)),
        "PeerUnreachable",
        (
            "Ready=False, because an agent asked http://10.0.0.7:7946/info",
            "no answer for its time to live (90s)",
            "beta was the last",
        ),
        "curl -m 3 http://10.0.0.7:7946/info",
    ),
    (
        lambda: network("False", "PeerUnreachable", "announced, but 10.0.0.7:7946 never answered: firewall?", lastSeen=None),
        "NeverAnswered",
        ("beta heard it announce itself", "never had an answer"),
        "ufw allow 7946/tcp",
    ),
    (
        lambda: network("False", "PeerUnreachable", phrases.renamed("web1", "web2"), lastSeen=ago(90)),
        "Renamed",
        ("the machine goes by the name of web2 now",),
        "k3 delete node web1",
    ),
    (
        lambda: network("False", "PeerUnreachable", phrases.another_answers("10.0.0.7:7946", "web9"), lastSeen=ago(90)),
        "AnotherAnswers",
        ("10.0.0.7:7946 answers as web9 now",),
        "k3 delete node web1",
    ),
    (lambda: network("False", "PeerLeft", "said goodbye"), "PeerLeft", ("said goodbye by mDNS", "refused"), "k3 network"),
    (
        lambda: network("False", "NodeShutdown", "k3 network was stopped"),
        "NodeShutdown",
        ("told to stop at 12:04:24Z",),
        "k3 network",
    ),
    (
        lambda: network(
            "Unknown", "ObserverLost", "no sign of life for 90s, and nobody in a position to ask", lastSeen=ago(95)
        ),
        "ObserverLost",
        ("Ready=Unknown", "may not blame the machine", "nobody in a position to ask"),
        "curl -m 3 http://10.0.0.7:7946/info",
    ),
    (
        lambda: network("False", "PeerExpired", "gone"),
        "PeerExpired",
        ("another program of the same purpose could not connect to it: gone",),
        "curl -m 3 http://10.0.0.7:7946/info",
    ),
    (
        lambda: mirrored("False", "ConsulCritical", "check web is critical"),
        "ConsulCritical",
        ("Consul's datacenter dc1 lists it and says: check web is critical",),
        "curl ${CONSUL_HTTP_ADDR:-127.0.0.1:8500}/v1/health/node/web1",
    ),
    (
        lambda: mirrored("False", "ConsulDeregistered", "no longer registered in Consul"),
        "ConsulDeregistered",
        ("does not list it any more",),
        "k3 discovery",
    ),
    (
        lambda: mirrored("Unknown", "SourceUnreachable", "no word from Consul's datacenter dc1: no leader"),
        "SourceUnreachable",
        ("no word from Consul's datacenter dc1: no leader", "may be well"),
        "curl ${CONSUL_HTTP_ADDR:-127.0.0.1:8500}/v1/status/leader",
    ),
    (
        lambda: mirrored("Unknown", "SourceUnreachable", phrases.AGENT_LOST),
        "ConsulAgentLost",
        ("the Consul agent of this machine does not answer", "k3 there did not answer the mirror either"),
        "systemctl status consul",
    ),
    (lambda: mirrored("False", "NodeShutdown", "k3 discovery was stopped"), "NodeShutdown", ("told to stop",), "k3 discovery"),
    (
        lambda: kubelets("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."),
        "NodeStatusUnknown",
        ("its kubelet stopped reporting", "control plane wrote that at 12:04:24Z"),
        "systemctl status kubelet",
    ),
    (
        lambda: kubelets("False", "KubeletNotReady", "container runtime is down"),
        "KubeletNotReady",
        ("its own kubelet runs and says: container runtime is down",),
        "journalctl -u kubelet -n 50",
    ),
    (
        lambda: kubelets("False", "MyReason", "mine"),
        "MyReason",
        ("a controller says MyReason: mine",),
        "kubectl describe node web1",
    ),
    (lambda: {"metadata": {"name": "web1"}}, "NoCondition", ("no Ready condition",), "kubectl describe node web1"),
    (lambda: stand_in("not JSON at byte 0"), "Unreadable", ("cannot be read: not JSON at byte 0",), ""),
]


@pytest.mark.parametrize(("manifest", "rule", "said", "command"), CASES, ids=[case[1] for case in CASES])
def test_the_cause_and_what_mends_it(manifest: Callable[[], Manifest], rule: str, said: tuple[str, ...], command: str) -> None:
    made = manifest()
    made.setdefault("metadata", {"name": "web1"})
    found = why(made)
    assert not found.is_well
    assert found.cause.rule == rule
    for text in said:
        assert text in found.cause.text
    assert found.do
    assert found.command == (command or "k3 delete node web1")
    assert found.cause.text.endswith(".")
    assert ".." not in found.cause.text


@pytest.mark.parametrize(
    "manifest",
    [
        network(),
        network("True", "SelfRegistered", "runs k3 network and answers its own probe", seen_by="web1"),
        mirrored("True", "ConsulPassing", "all its checks in Consul pass"),
        kubelets("True", "KubeletReady", "kubelet is posting ready status", condition("MemoryPressure", "False", "KubeletHas")),
        network("True", "LANDiscovery", "heard"),
    ],
    ids=["PeerAlive", "SelfRegistered", "ConsulPassing", "KubeletReady", "LANDiscovery"],
)
def test_of_a_healthy_machine_nothing_is_said_to_be_wrong(manifest: Manifest) -> None:
    found = why(manifest)
    assert found.is_well
    assert found.cause.text.startswith("Ready=True, because ")
    assert (found.do, found.command, found.on, found.besides, found.unknown) == ("", "", "", (), ())


def test_a_suspicion_says_who_has_it_and_when_it_becomes_a_verdict() -> None:
    suspected = condition("k3.network/Reachable", "False", "ProbeFailed", phrases.does_not_answer("beta"), since=3)
    found = why(network("True", "PeerAlive", "", suspected, lastSeen=ago(20)))
    assert (found.status, found.cause.rule, found.is_well) == ("Ready (not answering)", "ProbeFailed", False)
    assert "beta asked http://10.0.0.7:7946/info twice and had no answer at 12:04:31Z (3s ago)" in found.cause.text
    assert found.cause.text.endswith("Without an answer it becomes NotReady in about 70s.")
    assert found.cause.age_seconds == 3
    slow = Fleet.of([other("beta", **{"peer-ttl": "300s"})], Clocks())
    assert "in about 4m40s" in why(network("True", "PeerAlive", "", suspected, lastSeen=ago(20)), fleet=slow).cause.text
    assert "NotReady now." in why(network("True", "PeerAlive", "", suspected, lastSeen=ago(200)), fleet=slow_none()).cause.text


def slow_none() -> Fleet:
    return Fleet.of([], Clocks())


def test_without_an_observer_the_state_is_the_readers_and_nothing_is_blamed() -> None:
    found = why(network(lastSeen=ago(900)), is_observed=False, fleet=Fleet.of([], Clocks(unwritten_seconds=900)))
    assert (found.status, found.cause.rule) == ("Unknown (no observer)", "NoObserver")
    assert "by beta, at 11:49:34Z (15m ago): that is longer than 180s" in found.cause.text
    assert (found.command, found.on) == ("k3 network", "")
    unwritten = "no Node of this store was refreshed for 15m, so what became of it since is not known"
    assert [each.text for each in found.besides] == [unwritten]
    answering = why(network(lastSeen=ago(20)), fleet=Fleet.of([], Clocks(unwritten_seconds=20)))
    assert answering.is_well
    assert [(each.rule, each.command) for each in answering.besides] == [("Unwritten", "k3 doctor")], (
        "the agents live, and do not write"
    )
    mirror = why(mirrored("True", "ConsulPassing", "all its checks in Consul pass"), is_observed=False)
    assert "longer than 720s" in mirror.cause.text
    assert mirror.command == "k3 discovery"
    never = why(network(lastSeen=None, agent=None), is_observed=False)
    assert "names no time" in never.cause.text


def test_the_only_other_agent_is_named_and_of_several_none_is_accused() -> None:
    down = network("False", "PeerUnreachable", "no answer for 90s", lastSeen=ago(90))
    found = why(down, fleet=Fleet.of([other("beta")], Clocks()))
    assert "beta, the only other agent that writes to this store, asked" in found.cause.text
    assert found.unknown == ()
    several = why(down)
    assert "because an agent asked" in several.cause.text
    assert several.unknown[0].startswith("Which agent wrote this")


@pytest.mark.parametrize(
    ("way", "do", "command", "on"),
    [
        ("refused", "Start k3 on that machine again; if it runs there", "k3 network", "web1"),
        ("answered", "Wait a minute; if it stays so,", "k3 nodes -w", ""),
        ("another", "If the machine is gone for good,", "k3 delete node web1", ""),
        ("odd", "Look which program has the port", "ss -ltnp sport = :7946", "web1"),
        ("hangs", "Look at the process on that machine", "ps -o pid,stat,args -C k3", "web1"),
        ("filtered", "Open TCP port 7946 in its firewall", "ufw allow 7946/tcp", "web1"),
        ("gone", "Look whether it is on, and at its cable", "", ""),
        ("silent", "Look whether the machine is on", "curl -m 3 http://10.0.0.7:7946/info", ""),
        ("unable", "Mend this machine's own network first", "k3 doctor", ""),
    ],
)
def test_what_the_machine_answers_now_makes_the_advice_better(way: Any, do: str, command: str, on: str) -> None:
    down = network("False", "PeerUnreachable", "no answer for 90s", lastSeen=ago(90))
    found = why(down, asked=Asked(way, "nothing"))
    assert found.do.startswith(do)
    assert (found.command, found.on) == (command, on)
    assert found.evidence[0].rule == "AskedNow"
    assert found.evidence[0].text.startswith("asked http://10.0.0.7")


def test_evidence_has_a_source_and_an_age() -> None:
    lease = {"spec": {"holderIdentity": "web1", "renewTime": ago(40)}}
    events = [{"reason": "Registered", "message": "web1 registered", "lastTimestamp": ago(3600)} for _ in range(9)]
    found = why(
        network("False", "PeerUnreachable", "no answer for 90s", unreachable(), lastSeen=ago(90)), lease=lease, events=events
    )
    by_rule = {each.rule: each for each in found.evidence}
    assert by_rule["LastSeen"].age_seconds == 90
    assert by_rule["Reachable"].age_seconds == 75
    assert by_rule["Agent"].text == f"its own agent writes to this store (run {RUN})"
    assert by_rule["Links"].text == "on 10.0.0.0/24: beta, gamma can ask it"
    assert (by_rule["Lease"].source, by_rule["Lease"].age_seconds) == ("controller", 40)
    assert by_rule["Registered"].text == "Registered at 11:04:34Z (60m ago): web1 registered"
    assert sum(each.source == "events" for each in found.evidence) == 5
    assert by_rule["Owner"].text.startswith("k3 network looks after it (label k3.network/managed=true); k3 discovery writes")
    json = found.to_json()
    assert json["cause"]["rule"] == "PeerUnreachable"
    assert json["evidence"][0] == {
        "rule": "LastSeen",
        "source": "network",
        "text": f"last known alive at 12:03:04Z (90s ago), by beta (run {'c' * 16})",
        "at": ago(90),
        "ageSeconds": 90,
    }


def test_evidence_of_discovery() -> None:
    leads = {"spec": {"holderIdentity": "beta_cccc", "renewTime": ago(2)}}
    found = why(mirrored("True", "ConsulPassing", "all its checks in Consul pass"), mirror=leads)
    texts = [each.text for each in found.evidence]
    assert "registered as service k3, service ID k3-web1, Consul node web1, datacenter dc1" in texts
    assert "the mirror that leads is beta: it renewed its Lease at 12:04:32Z (2s ago)" in texts
    released = why(mirrored("True", "ConsulPassing", "x"), mirror={"spec": {"holderIdentity": ""}})
    assert "no mirror leads: the Lease was released, and nobody has taken it" in [each.text for each in released.evidence]


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (kubelets("True", "KubeletReady", ""), "a controller or a person made it: it has no label"),
        (
            {**kubelets("True", "KubeletReady", ""), "metadata": {"labels": {"k3.network/managed": "true"}}},
            "it has the label of k3 network, and k3 writes nothing here all the same: a kubelet reports it (v1.34.1)",
        ),
        (network("True", "MyController", "mine"), "all the same: a controller set Ready (MyController)"),
        (stand_in("x"), "nobody knows whose it is"),
    ],
)
def test_who_may_write_a_node(manifest: Manifest, text: str) -> None:
    (owner,) = [each for each in why(manifest).evidence if each.rule == "Owner"]
    assert text in owner.text


def test_a_node_whose_label_was_taken_away_says_that_nobody_looks_after_it() -> None:
    manifest = network()
    manifest["metadata"]["labels"] = {}
    found = why(manifest)
    assert found.cause.text.startswith("Ready=True, as k3 wrote it last (PeerAlive: answered its identity probe)")
    (owner,) = [each.text for each in found.evidence if each.rule == "Owner"]
    assert owner == "it was k3 network's, and its label k3.network/managed=true was taken away: k3 writes nothing here"


def test_two_machines_of_one_name_are_told_of_each_other() -> None:
    second = network()
    second["metadata"]["name"] = f"web1-{ID[:6]}"
    (found,) = why(second, fleet=Fleet.of([other("web1")], Clocks())).besides
    assert found.text == "it asked for the name web1 and goes by its second name: the machine at 10.0.0.7:7946 has that name"
    assert found.command == "k3 network --node-name OTHER"
    view = nodes.view_manifest(f"web1-{ID[:6]}", second)
    (found,) = why(network(id="1" * 32), fleet=Fleet.of([view], Clocks())).besides
    assert (
        found.text == f"other machines ask for this name too, and go by another: web1-{ID[:6]} (the machine at 10.0.0.7:7946)"
    )


def test_a_copy_says_so_first() -> None:
    cloned = condition("k3.network/Cloned", "True", "SameIdentity", "another machine has this machine's identity at 10.0.0.8")
    found = why(network("True", "PeerAlive", "", cloned))
    assert (found.status, found.cause.rule) == ("Ready (a clone)", "SameIdentity")
    assert "another machine has this machine's identity at 10.0.0.8" in found.cause.text
    assert found.do.startswith("Give one of the two an identity of its own")
    (former,) = why(network(clone_of="9" * 32)).besides
    assert former.rule == "SameIdentity"


def test_wrong_clocks_are_named_by_how_much_and_whose() -> None:
    behind = [WrongClock("beta", -3600), WrongClock("delta", 50)]
    (found,) = why(network(lastSeen=ago(3605)), fleet=Fleet.of([other("beta")], Clocks(wrong=behind))).besides
    assert found.text.startswith("the clock of beta is about 60m behind this machine's")
    assert (found.command, found.on) == ("timedatectl set-ntp true", "beta")
    mine = Clocks(wrong=[WrongClock("beta", -3600), WrongClock("delta", -3601)], is_readers=True)
    (found,) = why(network(lastSeen=ago(3605)), fleet=Fleet.of([other("beta")], mine)).besides
    assert found.text.startswith("the clock of the machine you are on is about 60m ahead of everybody else's")
    assert found.on == ""
    ahead = why(network(lastSeen=ago(-3600)), is_observed=False)
    assert "which is still to come by this machine's clock" in ahead.cause.text
    assert [each.rule for each in ahead.besides] == ["WrongClock"]
    assert ahead.cause.age_seconds is None


def test_a_cordon_says_whose_it_is() -> None:
    theirs = network()
    theirs["spec"] = {"unschedulable": True}
    (found,) = why(theirs).besides
    assert "k3 has not done that" in found.text
    assert found.command == "kubectl uncordon web1"
    ours = mirrored("True", "ConsulPassing", "x", unschedulable=True)
    ours["metadata"]["annotations"]["k3.discovery/maintenance"] = "true"
    (found,) = why(ours).besides
    assert "maintenance in Consul" in found.text
    assert (found.command, found.on) == ("consul maint", "web1")


def test_warnings_and_pressure_are_said_beside_the_cause() -> None:
    warned = condition("k3.discovery/Warning", "True", "ConsulWarning", "check disk is warning")
    (found,) = why(mirrored("True", "ConsulPassing", "check disk is warning", warned)).besides
    assert found.text == "k3.discovery/Warning: check disk is warning"
    full = condition("DiskPressure", "True", "KubeletHasDiskPressure", "")
    (found,) = why(kubelets("True", "KubeletReady", "", full)).besides
    assert found.text == "DiskPressure: KubeletHasDiskPressure"


@pytest.mark.parametrize(
    "odd", [{}, {"metadata": {"labels": {"k3.network/managed": "true"}}}, {"status": {"conditions": [{"type": "Ready"}]}}]
)
def test_an_odd_node_is_explained_like_any_other(odd: Manifest) -> None:
    found = why(odd)
    assert found.cause.text
    assert found.to_json()


SILENT = ("False", "PeerUnreachable", "announced, but 10.0.0.7:7946 never answered: firewall?")


def with_id_of_web1(name: str, *condition: str) -> Fleet:
    manifest = network(*condition)
    return Fleet.of([other("beta"), nodes.view_manifest(name, manifest), nodes.view_manifest("web1", network())], Clocks())


def test_who_only_announces_an_id_may_be_no_copy() -> None:
    found = why(network(*SILENT, lastSeen=None), fleet=with_id_of_web1("web2"), asked=Asked("gone"))
    assert "under another name, or something that announces its id." in found.cause.text
    assert found.do.startswith("Look who is at the two addresses")
    assert (found.command, found.on) == ("ip neigh", "")


def test_a_machine_whose_id_another_one_has_may_be_a_copy() -> None:
    found = why(network(*SILENT), fleet=with_id_of_web1("web2"), asked=Asked("gone"))
    assert "has web2 (the machine at 10.0.0.7:7946): a copy of this machine, or this machine under another" in found.cause.text
    assert found.do.startswith("Give one of the two another hardware address")
    assert "systemd-machine-id-setup" in found.command
    well = why(network(), fleet=with_id_of_web1("web2", *SILENT))
    assert well.is_well
    assert [each.rule for each in well.besides] == ["SameId"]


@pytest.mark.parametrize(
    "former",
    [
        ("False", "PeerUnreachable", phrases.renamed("web2", "web1")),
        ("False", "PeerLeft", "said goodbye"),
        ("False", "NodeShutdown", "k3 network was stopped"),
    ],
)
def test_a_former_name_of_the_same_machine_is_no_copy(former: tuple[str, str, str]) -> None:
    assert why(network(), fleet=with_id_of_web1("web2", *former)).besides == ()
    found = why(network(*SILENT, lastSeen=None), fleet=with_id_of_web1("web2", *former))
    assert "same id" not in found.cause.text
