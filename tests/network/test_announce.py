"""What a machine announces, on real links: in time, on every link, again after a change, and goodbye."""

import time

import pytest

from tests.lab import Lan, until
from tests.network.speaking import Speak

pytestmark = pytest.mark.netns


def test_both_sides_hear_of_each_other_whoever_was_first(lan: Lan, speak: Speak) -> None:
    first = speak(lan.host("a"), "node-a")
    started = time.time()
    second = speak(lan.host("b"), "node.b")
    heard = until(lambda: first.news_of("node.b"), what="the newcomer")[0]
    assert heard["addresses"] == ["10.77.1.2"]
    assert (heard["port"], heard["pid"], heard["boot"]) == (7946, 100, "0123456789abcdef")
    assert heard["at"] - started < 5
    assert until(lambda: second.news_of("node-a"), what="who was there")[0]["addresses"] == ["10.77.1.1"]
    assert first.nodes() == ["node.b"], "our own instance is not news, and nothing is repeated"


def test_goodbye_is_heard_once(lan: Lan, speak: Speak) -> None:
    first = speak(lan.host("a"), "node-a")
    second = speak(lan.host("b"), "node-b")
    until(lambda: first.news_of("node-b"))
    assert second.process.stop() == 0
    until(first.left, what="a goodbye")
    third = speak(lan.host("c"), "node-c")
    until(lambda: first.news_of("node-c"))
    assert len(first.left()) == 1
    assert len(first.news_of("node-b")) == 1, "an answer that was waiting to be sent took the goodbye back"
    until(third.nodes)
    assert third.nodes() == ["node-a"]


def test_a_new_address_is_announced_and_the_old_one_forgotten(lan: Lan, speak: Speak) -> None:
    first = speak(lan.host("a"), "node-a")
    second = speak(lan.host("b"), "node-b")
    until(lambda: first.news_of("node-b"))
    lan.nic(second.host).readdress("10.77.1.99/24")
    until(lambda: first.news_of("node-b")[-1]["addresses"] == ["10.77.1.99"], what="the new address")
    late = speak(lan.host("c"), "node-c")
    assert until(lambda: late.news_of("node-b"))[0]["addresses"] == ["10.77.1.99"]


def test_an_interface_replaced_by_its_like_is_joined_again(lan: Lan, speak: Speak) -> None:
    first = speak(lan.host("a"), "node-a")
    lan.nic(first.host).recreate()
    first.process.wait_for("links")
    late = speak(lan.host("b"), "node-b")
    until(lambda: first.news_of("node-b"), what="a peer that came after the interface was replaced")
    until(lambda: late.news_of("node-a"), what="the machine whose interface was replaced")


def test_a_network_that_comes_late_is_joined(lan: Lan, speak: Speak) -> None:
    there = speak(lan.host("a"), "node-a")
    late = speak(lan.bare_host("b"), "node-b")
    assert late.nodes() == []
    lan.attach(late.host)
    until(lambda: late.news_of("node-a"), what="who was there before the network was")
    heard = until(lambda: [each for each in there.news_of("node-b") if each["addresses"]])
    assert heard[-1]["addresses"] == [lan.address(late.host)]


def test_a_machine_on_two_links_is_heard_on_both_with_what_can_be_reached_there(lan: Lan, speak: Speak) -> None:
    with Lan("10.77.2.0/24") as other:
        middle = lan.host("middle")
        other.attach(middle, "eth1")
        left, right = speak(lan.host("l"), "left"), speak(other.host("r"), "right")
        both = speak(middle, "middle")
        assert until(lambda: left.news_of("middle"))[0]["addresses"] == ["10.77.1.1"]
        assert until(lambda: right.news_of("middle"))[0]["addresses"] == ["10.77.2.1"]
        until(lambda: set(both.nodes()) == {"left", "right"})
        assert left.news_of("right") == []


def test_link_local_ipv6_alone_carries_the_local_scope(speak: Speak) -> None:
    with Lan(None) as lan:
        first, second = speak(lan.host("a"), "node-a"), speak(lan.host("b"), "node-b")
        heard = until(lambda: first.news_of("node-b"), what="a peer with a link-local address only")[0]
        assert heard["addresses"] == [f"{lan.nic(second.host).link_local}%eth0"]


def test_unique_local_ipv6_alone(speak: Speak) -> None:
    with Lan(None, prefix6="fd77::/64") as lan:
        first, second = speak(lan.host("a"), "node-a"), speak(lan.host("b"), "node-b")
        heard = until(lambda: first.news_of("node-b"), what="a peer with IPv6 only")[0]
        assert heard["addresses"] == [lan.address(second.host)]


def test_without_ipv6_a_new_address_is_announced_too(lan: Lan, speak: Speak) -> None:
    hosts = [lan.host(name) for name in "abc"]
    for host in hosts:
        host.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"])
    first, second = speak(hosts[0], "node-a"), speak(hosts[1], "node-b")
    until(lambda: first.news_of("node-b"))
    lan.nic(second.host).readdress("10.77.1.99/24")
    until(lambda: first.news_of("node-b")[-1]["addresses"] == ["10.77.1.99"], what="the new address")
    late = speak(hosts[2], "node-c")
    assert until(lambda: late.news_of("node-b"))[0]["addresses"] == ["10.77.1.99"]
    until(lambda: second.news_of("node-c"), what="a peer that came after the change")
