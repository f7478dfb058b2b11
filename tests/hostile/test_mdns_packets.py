"""Anything at all may arrive over mDNS. Nothing of it may stop the browser, pass as a peer it is not, or grow without end."""

import ipaddress
import random
import socket
import struct
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k3.core import limits
from k3.core.node import valid_name
from k3.network.links import Interface, Links
from k3.network.records import HeardAddress, Reason, Unacceptable, instance_of, read_announcement
from tests.lab import Host, Lan, mdns, until
from tests.network.speaking import Speak, Speaking

LINKS = Links(
    (
        Interface(
            name="eth0",
            index=2,
            mac="",
            running=True,
            addresses=("10.77.1.1",),
            prefixes=("10.77.1.0/24", "fe80::/64", "fd00::/64"),
        ),
    )
)
SERVICE = "_k3._tcp.local."
GOOD = (HeardAddress(socket.inet_aton("10.77.1.9")),)


def txt(*entries: bytes) -> bytes:
    return b"".join(bytes([len(entry)]) + entry for entry in entries)


def refusal(**changes: object) -> Reason:
    arguments: dict[str, object] = {"port": 7946, "text": txt(b"node=a"), "addresses": GOOD, "links": LINKS}
    with pytest.raises(Unacceptable) as caught:
        read_announcement("a", **(arguments | changes))  # type: ignore[arg-type]
    return caught.value.reason


@given(
    port=st.integers(0, 65535),
    text=st.binary(max_size=1400) | st.lists(st.binary(max_size=255), max_size=6).map(lambda entries: txt(*entries)),
    addresses=st.lists(
        st.builds(HeardAddress, st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(0, 5))
    ),
)
@example(port=7946, text=txt(b"node=a", b"id=" + b"0" * 32, b"boot=" + b"1" * 16, b"pid=5"), addresses=list(GOOD))
@example(port=7946, text=txt(b"port=07946"), addresses=list(GOOD))
@example(port=7946, text=txt(b"pid=\xd9\xa3"), addresses=list(GOOD))
def test_whatever_is_accepted_keeps_every_limit(port: int, text: bytes, addresses: list[HeardAddress]) -> None:
    try:
        found = read_announcement("web1", port=port, text=text, addresses=addresses, links=LINKS)
    except Unacceptable:
        return
    assert valid_name(found.node)
    assert found.port == port > 0
    assert 0 <= found.pid < 2**31
    assert 0 < len(found.addresses) <= limits.PEER_ADDRESSES
    assert all(LINKS.on_link(address) for address in found.addresses)
    assert len(found.id) in {0, 32}
    assert len(found.boot) in {0, 16}


@given(st.text(max_size=300))
@example("../../etc/passwd")
@example("a/b")
@example("%s%n{0}")
@example("a\u202eb")
@example("a\nb")
@example(" ")
@example("\x1b[31m")
@example("\ufffd")
@example("a" * 64)
@example("K3\u212a")  # the Kelvin sign: its lower case is an ASCII letter
def test_instance_names_are_names_or_refused(label: str) -> None:
    try:
        instance = instance_of(f"{label}.{SERVICE}", SERVICE)
    except Unacceptable:
        return
    assert valid_name(instance)
    assert instance.isascii()
    assert len(instance) <= limits.INSTANCE_BYTES


@pytest.mark.parametrize("name", ["google.com.", "_k3._tcp.local.", "", "x._http._tcp.local.", "x_k3._tcp.local."])
def test_names_of_other_services_are_refused(name: str) -> None:
    with pytest.raises(Unacceptable):
        instance_of(name, SERVICE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (txt(b"node=../../x"), Reason.NODE),
        (txt(b"node=UPPER"), Reason.NODE),
        (txt(b"node=\xff\xfe"), Reason.TEXT_VALUE),
        (txt(b"port=99999999999999"), Reason.PORT),
        (txt(b"port=7947"), Reason.PORT),
        (txt(b"port=-1"), Reason.PORT),
        (txt(b"port=7946 "), Reason.PORT),
        (txt(b"pid=1e3"), Reason.PID),
        (txt(b"pid=4294967296"), Reason.PID),
        (txt(b"id=0123"), Reason.ID),
        (txt(b"id=" + b"g" * 32), Reason.ID),
        (txt(b"boot=" + b"0" * 17), Reason.BOOT),
        (b"\x20node=a", Reason.TEXT_BROKEN),
        (txt(*[b"x" * 255] * 6), Reason.TEXT_LONG),
    ],
)
def test_texts_that_are_refused(text: bytes, reason: Reason) -> None:
    assert refusal(text=text) is reason


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "127.0.0.1",
        "224.0.0.251",
        "0.0.0.0",
        "255.255.255.255",
        "169.254.169.254",
        "10.77.1.255",
        "10.77.1.0",
        "::1",
        "::",
        "ff02::fb",
        "2001:db8::1",
        "fe80::1",
        "::ffff:8.8.8.8",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_an_address_we_would_have_to_route_to_is_never_kept(address: str) -> None:
    packed = ipaddress.ip_address(address).packed
    assert refusal(addresses=[HeardAddress(packed, 7)]) is Reason.ADDRESS
    kept = read_announcement("a", port=1, text=b"", addresses=[HeardAddress(packed, 7), *GOOD], links=LINKS)
    assert kept.addresses == ("10.77.1.9",)


def test_port_zero_is_refused() -> None:
    assert refusal(port=0) is Reason.PORT


def test_only_the_first_few_addresses_are_kept() -> None:
    many = [HeardAddress(bytes([10, 77, 1, last])) for last in range(1, 251)]
    assert len(read_announcement("a", port=1, text=b"", addresses=many, links=LINKS).addresses) == limits.PEER_ADDRESSES


def test_only_what_the_first_key_says_counts_and_unknown_keys_do_not() -> None:
    text = txt(b"NODE=a", b"node=b", b"x" * 200, b"=", b"secret=\xff", b"")
    assert read_announcement("z", port=1, text=text, addresses=GOOD, links=LINKS).node == "a"


# --- On a real link: whatever was sent, who joins afterwards is heard ------------------------------------------------


@pytest.fixture
def target(lan: Lan, speak: Speak) -> Speaking:
    return speak(lan.host("target"), "target")


@pytest.fixture
def forger(lan: Lan) -> Host:
    return lan.host("forger")


def noise() -> Iterable[bytes]:
    chance = random.Random(7)
    loop = struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 4500, 2) + b"\xc0\x0c"
    yield from (chance.randbytes(chance.randrange(1, 1400)) for _ in range(1000))
    yield from (loop + chance.randbytes(chance.randrange(20)) for _ in range(200))


def mutations() -> Iterable[bytes]:
    chance = random.Random(8)
    good = mdns.announcement("node-x-01234567", address="10.77.1.77", port=7946, txt={"node": "node-x", "port": "7946"})
    for _ in range(3000):
        packet = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            packet[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)
        yield bytes(packet)


def odd_names() -> Iterable[bytes]:
    for label in ("../../etc/passwd", "a/b", "%s%n{0}", "a\u202eb", "a\nb", " ", "\x1b[31m", "\x00", "x" * 63, "_K3", "\ufffd"):
        yield mdns.announcement(label, address="10.77.1.77", port=7946, txt={"node": "odd"})
        yield mdns.announcement("odd", address="10.77.1.77", port=7946, txt=label.encode() * 200)


def elsewhere() -> Iterable[bytes]:
    for number, address in enumerate(("8.8.8.8", "127.0.0.1", "224.0.0.251", "0.0.0.0", "255.255.255.255", "169.254.169.254")):
        yield mdns.announcement(f"else{number}", address=address, port=22, txt={})
    yield mdns.announcement("nowhere", address="10.77.1.77", port=0, txt={})


def goodbyes() -> Iterable[bytes]:
    yield from (mdns.goodbye(f"ghost{number}") for number in range(3000))


@pytest.mark.netns
@pytest.mark.parametrize("attack", [noise, mutations, odd_names, elsewhere, goodbyes])
def test_a_peer_that_joins_after_an_attack_is_heard(
    attack: object, lan: Lan, speak: Speak, target: Speaking, forger: Host
) -> None:
    assert callable(attack)
    mdns.send(forger, attack())
    speak(lan.host("good"), "good")
    until(lambda: target.news_of("good"), what="the good peer")
    for heard in target.heard():
        assert valid_name(heard["node"])
        assert all(address.startswith("10.77.1.") for address in heard["addresses"])
        assert heard["port"] > 0
    assert "our fault" not in target.refused()
    assert "Traceback" not in target.process.text


@pytest.mark.netns
@pytest.mark.slow
def test_ten_thousand_invented_machines_cost_bounded_memory_and_hide_nobody(
    lan: Lan, speak: Speak, target: Speaking, forger: Host
) -> None:
    before = target.process.rss_bytes()
    good = speak(lan.host("before"), "before")
    until(lambda: target.news_of("before"))
    for start in range(0, 10_000, 500):
        invented = range(start, start + 500)
        mdns.send(
            forger,
            (mdns.announcement(f"fake{n}", address="10.77.1.200", port=7946, txt={"node": f"fake{n}"}) for n in invented),
        )
    speak(lan.host("good"), "good")
    until(lambda: target.news_of("good"), what="who joined after the flood")
    assert good.process.running
    assert target.process.rss_bytes() - before < 64 * 1024 * 1024
    assert "our fault" not in target.refused()
