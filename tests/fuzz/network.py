"""What comes from machines on the LAN: mDNS packets, and what a peer's `/info` says."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from typing import Any, Final

from hypothesis import strategies as st
from zeroconf import RecordUpdate
from zeroconf._protocol.incoming import DNSIncoming

from k3.agent.info import Info, info_document, parse_info
from k3.core import limits
from k3.core.node import publishable, valid_name
from k3.network.instances import InstanceTable
from k3.network.messages import Announcement
from k3.network.records import Unacceptable, read_announcement
from tests.fuzz import making
from tests.fuzz.parser import Parser
from tests.hostile import test_info
from tests.hostile.test_mdns_packets import LINKS, SERVICE
from tests.lab import mdns

NOW_MS: Final = 1_700_000_000_000.0


def _heard(packet: bytes) -> list[Announcement]:
    """Returns what a browser would report after one packet."""
    incoming = DNSIncoming(packet, ("10.77.1.9", 5353), None, NOW_MS)
    table = InstanceTable(SERVICE, lambda _: ())
    if incoming.valid:
        table.hear([RecordUpdate(record, None) for record in incoming.answers()], NOW_MS)
    found = []
    for name in iter(partial(table.take, 0.0), None):
        entry = table.get(name)
        if entry is not None and entry.server and entry.text is not None and (addresses := table.addresses(name)):
            try:
                found.append(read_announcement(name, port=entry.port, text=entry.text, addresses=addresses, links=LINKS))
            except Unacceptable:
                continue
    return found


def _check_heard(found: list[Announcement]) -> None:
    for each in found:
        assert valid_name(each.node)
        assert valid_name(each.instance)
        assert len(each.instance) <= limits.INSTANCE_BYTES
        assert 0 < each.port <= limits.PORT
        assert 0 <= each.pid <= limits.PID
        assert 0 < len(each.addresses) <= limits.PEER_ADDRESSES
        assert all(LINKS.on_link(address) for address in each.addresses)
        assert re.fullmatch("([0-9a-f]{32})?", each.id)
        assert re.fullmatch("([0-9a-f]{16})?", each.boot)


@st.composite
def _packets(draw: st.DrawFn) -> bytes:
    label = draw(st.sampled_from(["web1-01234567", "web1", "WEB1", "a" * 63, "a_b", "-", "\u00e4", "a b", "\x1b[31m"]))
    text = {"node": "web1", "port": "7946", "id": "0" * 32, "boot": "1" * 16, "pid": "5"}
    key = draw(st.sampled_from([*text, "x", "node\0"]))
    odd = text | {key: draw(making.WORDS.filter(lambda word: len(word.encode()) < 200))}
    raw: dict[str, str] | bytes = odd if draw(st.booleans()) else text
    if draw(st.integers(0, 3)) == 0:
        raw = draw(st.sampled_from([b"", b"\x05node", b"\0" * 1400, b"\xffx"]))
    return mdns.announcement(
        label,
        address=draw(
            st.sampled_from(["10.77.1.9", "10.77.1.255", "8.8.8.8", "127.0.0.1", "fe80::1", "fd00::1", "2001:db8::1"])
        ),
        port=draw(st.sampled_from([7946, 7946, 0, 1, 65535])),
        txt=raw,
        server=draw(st.sampled_from(["", "web1.local.", ".", "a" * 60 + ".local."])),
        ttl_seconds=draw(st.sampled_from([4500, 0, 1, 2**31])),
    )


FACTS: Final = replace(test_info.FACTS, links=("10.0.0.0/24", "fd00::/64"), clone_of="2" * 32)
INFO: Final = info_document(FACTS, 12.5, "0b5e-store") | {
    "time": "2026-11-27T01:02:03.456Z",
    "osImage": "Debian GNU/Linux 12",
    "kernelVersion": "6.1.0",
    "machineID": "3" * 32,
    "bootID": "01234567-89ab-cdef-0123-456789abcdef",
}


def _check_info(said: Info) -> None:
    facts = said.facts
    assert valid_name(facts.node)
    assert 0 <= facts.port <= limits.PORT
    assert 0 <= facts.pid <= limits.PID
    assert len(facts.addresses) <= limits.PEER_ADDRESSES
    assert facts.addresses == tuple(publishable(facts.addresses)), "a normal form"
    assert len(facts.links) <= limits.LINKS
    assert 0 <= facts.peer_ttl_seconds < 1e9
    assert 0 <= said.uptime_seconds < 1e9
    assert math.isfinite(said.uptime_seconds)
    assert said.time is None or said.time.tzinfo is not None
    system = facts.system
    texts: list[str] = [
        facts.id,
        facts.boot,
        facts.os,
        facts.arch,
        facts.version,
        facts.hostname,
        facts.clone_of,
        said.store_id,
    ]
    texts += [*facts.links, system.os_image, system.kernel_version, system.machine_id, system.boot_id]
    for text in texts:
        assert text.isascii()
        assert text == "" or text.isprintable()
        assert len(text) <= limits.NAME_BYTES
    assert all(re.fullmatch(r"[0-9a-f:.]+/\d+", link) for link in facts.links)
    # What is said again means the same: the document has one normal form.
    again = parse_info(json.dumps(info_document(facts, said.uptime_seconds, said.store_id, now=said.time)).encode())
    assert again.facts.node == facts.node
    assert (again.facts.links, again.facts.addresses) == (facts.links, facts.addresses)
    assert (again.store_id, again.time is None) == (said.store_id, said.time is None)


def _documents(good: Any) -> st.SearchStrategy[bytes]:
    one = making.documents(good)
    longer = st.sampled_from([b" " * limits.INFO_BYTES, b"[" * limits.INFO_BYTES, b'{"node":' * 2_000])
    return one | one | one | longer


PARSERS: Final = (
    Parser(
        name="mdns-packet",
        read=_heard,
        inputs=_packets() | _packets().flatmap(making.bent) | st.binary(max_size=200),
        check=_check_heard,
        refuses=(),
    ),
    Parser(name="info", read=parse_info, inputs=_documents(INFO), check=_check_info),
)
