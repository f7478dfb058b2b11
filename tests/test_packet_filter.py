"""The kernel drops what comes from these sources, and lets all others in."""

import socket
from collections.abc import Iterator

import pytest

from k3.agent import packet_filter


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        sock.listen(16)
        yield sock


def gets_in(server: socket.socket, source: str) -> bool:
    """Whether a client at this source address is let in. Who is dropped hears nothing at all."""
    family, there = (socket.AF_INET6, "::1") if ":" in source else (socket.AF_INET, "127.0.0.1")
    with socket.socket(family) as client:
        client.bind((source, 0))
        client.settimeout(0.2)
        try:
            client.connect((there, server.getsockname()[1]))
        except TimeoutError:
            return False
        server.accept()[0].close()
        return True


SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "::1")


@pytest.mark.parametrize(
    ("origins", "passing", "dropped"),
    [
        ((), (), set()),
        (("127.0.0.2",), (), {"127.0.0.2"}),
        (("127.0.0.3", "127.0.0.2", "fd00:1::/64"), (), {"127.0.0.2", "127.0.0.3"}),
        (("::/64",), (), {"::1"}),
        (("::1",), (), {"::1"}),
        (("fd00:1::/64", "::/64"), ("127.0.0.9", "fd00:1::1", "::1"), set()),
        (("::/64", "127.0.0.1"), ("::2",), {"::1", "127.0.0.1"}),
        ([f"127.9.{n // 250}.{n % 250}" for n in range(400)] + [f"fd00:{n:x}::/64" for n in range(400)], (), set()),
        (["127.0.0.1", "::/64"] + [f"fd00:{n:x}::/64" for n in range(4_000)], (), {"127.0.0.1", "::1"}),
    ],
)
def test_who_is_dropped(server: socket.socket, origins: tuple[str, ...], passing: tuple[str, ...], dropped: set[str]) -> None:
    packet_filter.drop(server, origins, passing=passing)
    assert {source for source in SOURCES if not gets_in(server, source)} == dropped
    packet_filter.drop(server, ())
    packet_filter.drop(server, ())
    assert all(gets_in(server, source) for source in SOURCES)


def test_who_is_given_to_the_second_socket_of_a_port(server: socket.socket) -> None:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    with socket.socket(socket.AF_INET6) as second:
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        second.bind(server.getsockname())
        second.listen(16)
        for sock in (server, second):
            sock.settimeout(1)
        for chosen in (set(), {"127.0.0.2", "::1"}, {"127.0.0.3"}):
            packet_filter.steer(second, chosen)
            for source in SOURCES:
                assert gets_in(second if source in chosen else server, source)


def test_questions_pass_at_a_socket_of_dns() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        server.settimeout(1)
        client.bind(("127.0.0.2", 0))
        packet_filter.drop(server, ["127.0.0.2"], but_questions=True)
        for flags in (b"\x84\0", b"\0\0"):
            client.sendto(b"\0\0" + flags + bytes(8), server.getsockname())
        assert server.recv(100)[2] == 0
        packet_filter.drop_others(server, ["127.0.0.2", "fd00:1::/64"])
        client.sendto(b"\0\0\x84\1" + bytes(8), server.getsockname())
        assert server.recv(100)[3] == 1
        packet_filter.drop_others(server, ["127.0.0.3", "fd00:1::/64"])
        for flags in (b"\x84\0", b"\0\0"):
            client.sendto(b"\0\0" + flags + bytes(8), server.getsockname())
        assert server.recv(100)[2] == 0
        packet_filter.drop(server, ())
        client.sendto(b"\0\0\x84\0" + bytes(8), server.getsockname())
        assert server.recv(100)[2] == 0x84
