"""One place says what every state, condition and reason means: nothing is missing there, nothing without use, all is plain."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from k3.cli import COMMANDS
from k3.core import phrases
from k3.core.documents import stand_in
from k3.core.node import CLONED, REACHABLE, READY
from k3.core.objects import Manifest
from k3.core.sources import SOURCES
from k3.discovery.policy import WARNING
from k3.view import node_table, words
from k3.view.cells import Moment
from k3.view.reasons import NOTHING, OTHERS_REASONS, OWN_REASONS, SITUATIONS, Word
from tests.cli.conftest import kubelet_node, node
from tests.docs import sources
from tests.source import READERS

NOW = datetime.now(UTC)
TABLES = {"states": words.STATES, "conditions": words.CONDITIONS, "reasons": words.REASONS, "situations": SITUATIONS}
EVERY = [pytest.param(word, id=f"{title}-{key}") for title, table in TABLES.items() for key, word in table.items()]


def read(manifest: Manifest, *, is_observed: bool = True, name: str = "web1") -> node_table.Reading:
    """A Node as the store shows it."""
    manifest.setdefault("metadata", {})["name"] = name
    return node_table.read(manifest, Moment(NOW, is_observed))


def down(reason: str, message: str = "", status: str = "False", **changes: Any) -> Manifest:
    """A Node of network's that is not Ready."""
    manifest = node("web1", **changes)
    manifest["status"]["conditions"][0].update(status=status, reason=reason, message=message)
    return manifest


@READERS
def test_every_reason_that_the_code_writes_has_an_entry_and_no_entry_is_unused() -> None:
    rows = {reason for row in SOURCES.values() for reason in row.reasons | row.original_reasons}
    written = sources.reasons() | rows
    assert set(OWN_REASONS) == written
    assert not OWN_REASONS.keys() & OTHERS_REASONS.keys()


@READERS
def test_what_the_sources_may_write_into_ready_is_what_they_write() -> None:
    """So that the search for reasons is known to find them."""
    assert {reason for row in SOURCES.values() for reason in row.reasons} <= sources.reasons()
    assert "UnknownToMe" not in sources.reasons()


def test_every_condition_that_the_code_writes_has_an_entry() -> None:
    others = {"MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"}
    assert set(words.CONDITIONS) == {READY, REACHABLE, CLONED, WARNING} | others


def test_every_state_that_a_list_shows_has_an_entry_and_no_entry_is_unused() -> None:
    cases = [
        node("n"),
        down("PeerLeft"),
        {"metadata": {}},
        stand_in("not JSON"),
        node("n", conditions=[{"type": "k3.network/Reachable", "status": "False", "reason": "ProbeFailed"}]),
        node("n", conditions=[{"type": "k3.network/Cloned", "status": "True", "reason": "SameIdentity"}]),
    ]
    states = [read(case).state for case in cases] + [read(node("n"), is_observed=False).state]
    shown = {str(state) for state in states}
    assert shown | {node_table.CORDONED, "Deleted"} == set(words.STATES)
    assert all(words.of_state(state) is words.STATES[str(state)] for state in states)
    cordoned = read(node("n", spec={"unschedulable": True})).state
    assert str(cordoned) == "Ready,SchedulingDisabled"
    assert words.of_state(cordoned) is words.STATES["Ready"]


@pytest.mark.parametrize("word", EVERY)
def test_an_entry_is_one_sentence_for_each_and_its_command_is_one_of_k3s_or_well_known(word: Word) -> None:
    for sentence in (word.means, word.do):
        assert re.fullmatch(r"[A-Z][^.!?]*(?:\.(?=\S)[^.!?]*)*[.?]", sentence), sentence
        assert len(sentence) <= 140
    assert not (word.command and word.do == NOTHING)
    program, _, rest = word.command.partition(" ")
    assert program in {"", "k3", "curl", "kubectl", "systemctl", "journalctl", "ufw", "ss", "ps", "rm", "ip"}
    if program == "k3":
        assert rest.split(" ")[0] in {*COMMANDS, "SOURCE"}


def test_as_json() -> None:
    found = json.loads(json.dumps(words.to_json()))
    assert {title: set(table) for title, table in found.items()} == {title: set(table) for title, table in TABLES.items()}
    left = found["reasons"]["PeerLeft"]
    assert left == {
        "means": "It said goodbye, and its port refused connections: k3 was stopped there.",
        "do": "Start k3 on that machine again.",
        "command": "k3 SOURCE",
        "onMachine": True,
    }


def unproven() -> Manifest:
    manifest = down("PeerUnreachable", "announced, but 10.0.0.7:7946 never answered: firewall?", seen_ago=None)
    manifest["metadata"]["annotations"]["k3.network/seen-by"] = "alpha"
    return manifest


def mirrored(message: str) -> Manifest:
    manifest = down("SourceUnreachable", message, "Unknown")
    manifest["metadata"]["labels"] = {"k3.discovery/managed": "true"}
    return manifest


def a_controllers() -> Manifest:
    manifest = kubelet_node()
    manifest["status"]["conditions"][0]["reason"] = "MyController"
    return manifest


@pytest.mark.parametrize(
    ("manifest", "situation"),
    [
        (lambda: node("n"), ""),
        (lambda: down("PeerUnreachable", "no answer for 90s"), ""),
        (unproven, "NeverAnswered"),
        (lambda: down("PeerUnreachable", phrases.renamed("web1", "web2")), "Renamed"),
        (lambda: down("PeerUnreachable", phrases.another_answers("10.0.0.7:7946")), "AnotherAnswers"),
        (lambda: down("PeerUnreachable", phrases.another_answers("10.0.0.7:7946", "web9")), "AnotherAnswers"),
        (lambda: mirrored(phrases.AGENT_LOST), "ConsulAgentLost"),
        (lambda: mirrored("no word from Consul's datacenter dc1: no leader"), ""),
        (kubelet_node, ""),
        (a_controllers, "Foreign"),
        (lambda: stand_in("not JSON"), ""),
    ],
)
def test_the_situation_that_a_node_is_in(manifest: Callable[[], Manifest], situation: str) -> None:
    reading = read(manifest())
    assert words.situation(reading) == situation
    entry = SITUATIONS[situation] if situation else words.of_reason(reading.state.reason)
    assert words.of(reading) == words.fitted(entry, reading)


def test_a_reason_of_another_program_is_said_to_be_that() -> None:
    assert words.of_reason("SomethingElse").means == "Another program wrote this reason, and k3 does not know its meaning."


def test_commands_are_fitted_to_the_node_and_safe_to_paste() -> None:
    reading = read(down("PeerUnreachable", "no answer for 90s"))
    assert words.of(reading).command == "curl -m 3 http://10.0.0.7:7946/info"
    left = words.of(read(down("PeerLeft")))
    assert (left.command, left.on_machine) == ("k3 network", True)
    evil = "x;reboot\n$(id)"
    manifest = down("ConsulCritical", "check web is critical")
    manifest["metadata"] |= {
        "labels": {"k3.discovery/managed": "true"},
        "annotations": {"k3.discovery/consul-node": evil, "k3.discovery/port": "1;id"},
    }
    manifest["status"]["addresses"] = [{"type": "InternalIP", "address": "1.2.3.4;id"}]
    assert words.of(read(manifest, name=evil)).command.endswith("/v1/health/node/x%3Breboot%0A%24%28id%29")
    assert words.fitted(Word("", "", "k3 why NAME"), read(manifest, name=evil)).command == f"k3 why '{evil}'"
    port = manifest["metadata"]["annotations"]
    port["k3.discovery/port"] = "7946"
    assert words.endpoint(read(manifest).view) == ""
    assert words.fitted(Word("", "", "curl ADDRESS:PORT"), read(manifest)).command == "curl ADDRESS:PORT"


def test_an_address_of_version_six_stands_in_brackets() -> None:
    manifest = down("PeerUnreachable", "no answer for 90s")
    manifest["status"]["addresses"] = [{"type": "InternalIP", "address": "fd00::7"}]
    assert words.of(read(manifest)).command == "curl -m 3 http://'[fd00::7]:7946'/info"
