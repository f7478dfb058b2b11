"""Why a machine does not answer from here: what a closed port, a hanging process and the table of addresses tell."""

import socket
import sys

import pytest

from k3.doctor import silence
from tests.lab import Host

HOST = "127.0.0.1"


async def test_a_process_that_hangs_and_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert await silence.way_of_silence(HOST, mute.getsockname()[1], silent_seconds=None) == "hangs"
        port = mute.getsockname()[1]
    assert await silence.way_of_silence(HOST, port, silent_seconds=None) == "refused"


ASKED = "from k3.doctor.silence import _is_on_link as there; print(*(there(f'10.9.0.{last}') for last in range(1, 8)))"


@pytest.mark.netns
@pytest.mark.slow
def test_only_an_entry_that_the_kernel_calls_reachable_is_proof() -> None:
    with Host("lonely") as host:
        host.ip("link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up")
        host.ip("address add 10.9.0.250/24 dev eth0")
        for last, state in enumerate(("reachable", "stale", "delay", "probe", "failed", "permanent"), start=1):
            host.ip(f"neigh add 10.9.0.{last} lladdr 02:00:00:00:00:0{last} dev eth0 nud {state}")
        said = host.run([sys.executable, "-c", ASKED]).stdout.split()
    assert said[0] == "True"
    assert "True" not in said[1:], "a machine that is off has such an entry for a while"
    assert said[4] == "False"
    assert said[6] == "None"


@pytest.mark.parametrize("address", ["10.0.0.70", "fd00::7", "", "web1"])
def test_of_an_address_that_is_not_in_the_table_nothing_is_concluded(address: str) -> None:
    assert silence._is_on_link(address) is None
