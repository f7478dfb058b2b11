"""Raw mDNS from a host of the laboratory: any packet, from port 5353, whether or not anybody decent would send it."""

import socket
import struct
from collections.abc import Iterable, Mapping

from zeroconf import const
from zeroconf._dns import DNSAddress, DNSPointer, DNSService, DNSText
from zeroconf._protocol.outgoing import DNSOutgoing

from tests.lab.host import Host

TYPE = "_k3._tcp.local."
_GROUP = "224.0.0.251"
_GROUP6 = "ff02::fb"
_PORT = 5353
_IN = const._CLASS_IN
_UNIQUE = _IN | const._CLASS_UNIQUE


def send(
    host: Host, packets: Iterable[bytes], *, interface: str = "eth0", source_port: int = _PORT, ipv6: bool = False
) -> None:
    """Send packets to the mDNS group on one interface (RFC 6762 §3, §11)."""

    def inside() -> None:
        with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            index = socket.if_nametoindex(interface)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if ipv6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"\0" * 4, b"\0" * 4, index))
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            sock.bind(("::" if ipv6 else "0.0.0.0", source_port))
            for packet in packets:
                sock.sendto(packet, (_GROUP6 if ipv6 else _GROUP, _PORT))

    host.call(inside)


def send_as(host: Host, packets: Iterable[tuple[str, bytes]], *, interface: str = "eth0") -> None:
    """Send packets to the IPv4 group, each with the sender's address that stands before it, whosever that is (RFC 791 §3.1)."""

    def inside() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            index = socket.if_nametoindex(interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"\0" * 4, b"\0" * 4, index))
            for sender, packet in packets:
                udp = struct.pack("!4H", _PORT, _PORT, 8 + len(packet), 0) + packet  # no checksum (RFC 768)
                addresses = socket.inet_aton(sender) + socket.inet_aton(_GROUP)
                # The kernel fills in the header's checksum and id (raw(7)).
                head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 255, socket.IPPROTO_UDP, 0) + addresses
                sock.sendto(head + udp, (_GROUP, 0))

    host.call(inside)


def announcement(
    instance: str, *, address: str, port: int, txt: Mapping[str, str] | bytes, server: str = "", ttl_seconds: int = 4500
) -> bytes:
    """PTR, SRV, TXT and A or AAAA of one instance in one answer (RFC 6763 §4). `txt` as bytes goes out as it is."""
    full = f"{instance}.{TYPE}"
    target = server or f"{instance}.local."
    raw = txt if isinstance(txt, bytes) else b"".join(_entry(f"{key}={value}".encode()) for key, value in txt.items())
    family, kind = (socket.AF_INET6, const._TYPE_AAAA) if ":" in address else (socket.AF_INET, const._TYPE_A)
    out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    out.add_answer_at_time(DNSPointer(TYPE, const._TYPE_PTR, _IN, ttl_seconds, full), 0)
    out.add_answer_at_time(DNSService(full, const._TYPE_SRV, _UNIQUE, min(ttl_seconds, 120), 0, 0, port, target), 0)
    out.add_answer_at_time(DNSText(full, const._TYPE_TXT, _UNIQUE, ttl_seconds, raw), 0)
    out.add_answer_at_time(DNSAddress(target, kind, _UNIQUE, min(ttl_seconds, 120), socket.inet_pton(family, address)), 0)
    return b"".join(out.packets())


def goodbye(instance: str) -> bytes:
    """A PTR with a time to live of 0 (RFC 6762 §10.1)."""
    out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    out.add_answer_at_time(DNSPointer(TYPE, const._TYPE_PTR, _IN, 0, f"{instance}.{TYPE}"), 0)
    return b"".join(out.packets())


def query(name: str = TYPE) -> bytes:
    """One PTR question, written out by hand: an mDNS query has id 0 and no flags."""
    labels = b"".join(_entry(label.encode()) for label in name.rstrip(".").split("."))
    return struct.pack("!6H", 0, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", const._TYPE_PTR, _IN)


def _entry(text: bytes) -> bytes:
    return bytes([len(text)]) + text
