"""What the browser reports: every change once, nothing that is not so, and everybody in time."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from zeroconf._dns import DNSPointer
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_RESPONSE, _TYPE_PTR

from tests.lab import Host, Lan, mdns, until
from tests.network.speaking import Speak, Speaking

pytestmark = pytest.mark.netns

TEXT = {"node": "forged", "port": "7946", "pid": "1"}


@pytest.fixture
def listener(lan: Lan, speak: Speak) -> Speaking:
    return speak(lan.host("listener"), "listener", "--silent")


@pytest.fixture
def forger(lan: Lan) -> Host:
    return lan.host("forger")


def forged(lan: Lan, forger: Host, text: dict[str, str] | None = None, *, instance: str = "forged", port: int = 7946) -> bytes:
    return mdns.announcement(instance, address=lan.address(forger), port=port, txt=TEXT if text is None else text)


def pointer(instance: str) -> bytes:
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    out.add_answer_at_time(DNSPointer(mdns.TYPE, _TYPE_PTR, _CLASS_IN, 4500, f"{instance}.{mdns.TYPE}"), 0)
    return b"".join(out.packets())


@contextmanager
def questions(host: Host) -> Iterator[socket.socket]:
    """A socket that hears everything multicast on the link."""
    with host.open_socket() as sock:
        sock.settimeout(20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        index = host.call(lambda: socket.if_nametoindex("eth0"))
        member = struct.pack("=4s4si", socket.inet_aton("224.0.0.251"), bytes(4), index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.bind(("224.0.0.251", 5353))
        yield sock


def first_heard(forger: Host, packet: bytes, listener: Speaking) -> dict[str, Any]:
    """Announced until it is heard, since one multicast packet may be lost (RFC 6762 §8.3 has at least two sent)."""

    def again() -> list[dict[str, Any]]:
        mdns.send(forger, [packet])
        return listener.heard()

    return until(again, every_seconds=0.5)[0]


def test_a_change_of_text_or_port_is_news_and_a_repetition_is_not(lan: Lan, listener: Speaking, forger: Host) -> None:
    first_heard(forger, forged(lan, forger), listener)
    mdns.send(forger, [forged(lan, forger), forged(lan, forger)])
    mdns.send(forger, [forged(lan, forger, TEXT | {"pid": "2"})])
    until(lambda: [each["pid"] for each in listener.heard()] == [1, 2], what="a new pid")
    mdns.send(forger, [forged(lan, forger, TEXT | {"port": "7947"}, port=7947)])
    until(lambda: [each["port"] for each in listener.heard()][-1] == 7947, what="a new port")
    assert len(listener.heard()) == 3


def test_the_go_programs_announcement_is_understood(lan: Lan, listener: Speaking, forger: Host) -> None:
    packet = forged(lan, forger, {"node": "go-node", "port": "7946", "pid": "77"}, instance="go-node")
    heard = first_heard(forger, packet, listener)
    assert (heard["node"], heard["pid"], heard["id"], heard["boot"]) == ("go-node", 77, "", "")


def test_without_a_name_in_the_text_the_instance_is_the_name(lan: Lan, listener: Speaking, forger: Host) -> None:
    packet = forged(lan, forger, {}, instance="web1-0123abcd")
    assert first_heard(forger, packet, listener)["node"] == "web1-0123abcd"


def test_an_instance_whose_records_are_missing_is_asked_for_them(lan: Lan, listener: Speaking, forger: Host) -> None:
    with questions(forger) as sock:
        mdns.send(forger, [pointer("partial")])
        until(lambda: b"partial" in sock.recv(9000), what="a question about it")
        assert first_heard(forger, forged(lan, forger, instance="partial"), listener)["instance"] == "partial"


def test_a_forged_goodbye_is_undone_by_its_victim_within_a_second(
    lan: Lan, speak: Speak, listener: Speaking, forger: Host
) -> None:
    victim = speak(lan.host("victim"), "victim")
    until(listener.heard)
    mdns.send(forger, [mdns.goodbye(listener.heard()[0]["instance"])])
    until(lambda: len(listener.heard()) == 2, what="the victim again")
    lines = listener.process.lines
    assert [line.split()[0] for line in lines if line.startswith(("heard", "left"))] == ["heard", "left", "heard"]
    assert victim.process.running


def test_who_joined_during_a_cut_is_found_after_it(lan: Lan, speak: Speak) -> None:
    first = speak(lan.host("a"), "node-a")
    lan.cut(first.host)
    second = speak(lan.host("b"), "node-b")
    lan.heal(first.host)
    until(lambda: first.news_of("node-b"), what="who joined during the cut")
    until(lambda: second.news_of("node-a"), what="who was cut off")


def test_a_crashed_machine_is_not_reported_as_left(lan: Lan, speak: Speak, listener: Speaking) -> None:
    peer = speak(lan.host("b"), "node-b")
    until(listener.heard)
    peer.host.crash()
    other = speak(lan.host("c"), "node-c")
    until(lambda: listener.news_of("node-c"))
    assert listener.left() == []
    assert other.process.running


def test_a_restart_is_one_piece_of_news(lan: Lan, speak: Speak, listener: Speaking, forger: Host) -> None:
    first_heard(forger, forged(lan, forger, TEXT | {"boot": "0" * 16}), listener)
    mdns.send(forger, [forged(lan, forger, TEXT | {"boot": "1" * 16})])
    until(lambda: [each["boot"] for each in listener.heard()] == ["0" * 16, "1" * 16])


@pytest.mark.slow
def test_a_thousand_instances_are_all_heard(lan: Lan, speak: Speak) -> None:
    for number in range(4):
        speak(lan.host(f"crowd{number}"), f"crowd{number}-", "--crowd=250")
    late = speak(lan.host("late"), "late", "--silent")
    until(lambda: len(set(late.nodes())) == 1000, what="a thousand instances", guard_seconds=60)
    ready = float(late.process.wait_for("ready").split()[1])
    took = max(each["at"] for each in late.heard()) - ready
    assert len(late.heard()) == 1000, "each once"
    assert late.process.stop() == 0
    cpu = late.process.wait_for("cpu")
    print(f"1000 instances: {took:.2f} s, {cpu} s with start and output")  # noqa: T201 - a figure to record
