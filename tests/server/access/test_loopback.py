import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from k3.core.addresses import parse_address
from k3.server.access import loopback
from k3.server.access.loopback import Loopback, owner

NOBODY = 65_534
STRANGER = 12_345
CLIENT = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
one = socket.create_connection(({host!r}, {port}))
one.sendall(b"PUT / HTTP/1.1\\r\\n\\r\\n")
{then}
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as sock:
        sock.settimeout(60)
        yield sock


def connect_as(uid: int, listener: socket.socket, then: str) -> subprocess.Popen[bytes]:
    host, port = listener.getsockname()[:2]
    code = CLIENT.format(uid=uid, host=host, port=port, then=then)
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


def ends(sock: socket.socket) -> tuple[loopback.Endpoint, loopback.Endpoint]:
    return sock.getpeername()[:2], sock.getsockname()[:2]


def test_the_servers_own_user_may_write(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()[:2]), listener.accept()[0] as near:
        assert owner(*ends(near)) == os.geteuid()
        assert Loopback("owner").user(*ends(near)).role == "admin"


@needs_root
@pytest.mark.parametrize("uid", [NOBODY, STRANGER])
def test_another_user_may_read_only(listener: socket.socket, uid: int) -> None:
    with connect_as(uid, listener, "sys.stdin.read()") as client, listener.accept()[0] as near:
        assert near.recv(3) == b"PUT"
        assert owner(*ends(near)) == uid
        for how in (loopback._by_netlink, loopback._by_proc):
            (host, port), (far, far_port) = ends(near)
            here, there = parse_address(host), parse_address(far)
            assert here is not None
            assert there is not None
            assert how(here, port, there, far_port) == uid
        user = Loopback("owner").user(*ends(near))
        assert (user.role, user.name) == ("view", "local:nobody" if uid == NOBODY else f"local:{uid}")
        assert Loopback("all").user(*ends(near)).role == "admin"
        client.communicate()


@needs_root
@pytest.mark.parametrize("then", ["one.close()", "os._exit(0)", "one.shutdown(socket.SHUT_WR); one.close()"])
def test_who_has_closed_already_is_nobody_and_not_root(listener: socket.socket, then: str) -> None:
    """Older kernels report a socket that no process has any more as root's."""
    with connect_as(NOBODY, listener, then) as client:
        client.communicate()
        with listener.accept()[0] as near:
            assert near.recv(3) == b"PUT"
            (host, port), (far, far_port) = ends(near)
            here, there = parse_address(host), parse_address(far)
            assert here is not None
            assert there is not None
            assert owner(*ends(near)) is None
            assert loopback._by_proc(here, port, there, far_port) is None
            assert Loopback("owner").user(*ends(near)).role == "view"


def test_a_connection_that_is_none_is_nobodys_even_where_a_listener_has_its_port(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    with socket.create_server((host, 0), family=listener.family) as other:
        assert owner((host, other.getsockname()[1]), (host, port)) is None


def test_an_ipv4_client_of_an_ipv6_socket_is_found() -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])),
        listener.accept()[0] as near,
    ):
        assert near.getpeername()[0] == "::ffff:127.0.0.1"
        assert owner(*ends(near)) == os.geteuid()


def test_without_proc_and_netlink_nobody_may_write(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(loopback, "_by_netlink", refused)
    with socket.create_connection(listener.getsockname()[:2]), listener.accept()[0] as near:
        assert owner(*ends(near)) == os.geteuid()  # by /proc
        monkeypatch.setattr(loopback, "_TABLES", {4: Path("/nowhere"), 6: Path("/nowhere")})
        assert owner(*ends(near)) is None
        assert Loopback("owner").user(*ends(near)).role == "view"


@pytest.mark.parametrize(("uid", "trusted"), [(None, False), (0, True), (NOBODY, False)])
def test_an_unknown_or_overflown_user_is_not_trusted(uid: int | None, trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert loopback._is_trusted(uid) is trusted


@pytest.mark.parametrize("host", ["", "localhost", "10.0.0.1.2", "fe80::1%eth0"])
def test_odd_ends(host: str) -> None:
    assert owner((host, 1), ("127.0.0.1", 2)) is None


def test_it_takes_the_same_time_among_many_sockets(listener: socket.socket) -> None:
    with ExitStack() as kept:
        accepted = []
        for _ in range(200):
            kept.enter_context(socket.create_connection(listener.getsockname()[:2]))
            accepted.append(kept.enter_context(listener.accept()[0]))
        began = time.process_time()
        for _ in range(50):
            assert owner(*ends(accepted[100])) == os.geteuid()
        assert time.process_time() - began < 0.5
