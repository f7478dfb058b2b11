"""Why a machine does not answer from here: what a closed port, a hanging process and the table of addresses tell."""

import socket
from pathlib import Path

import pytest

from k3.doctor import silence

HOST = "127.0.0.1"
ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
10.0.0.7         0x1         0x2         08:00:27:8d:c0:4d     *        eth0
10.0.0.8         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.0.9         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.0.9         0x1         0x6         08:00:27:8d:c0:4e     *        eth1
"""


async def test_a_process_that_hangs_and_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert await silence.way_of_silence(HOST, mute.getsockname()[1], silent_seconds=None) == "hangs"
        port = mute.getsockname()[1]
    assert await silence.way_of_silence(HOST, port, silent_seconds=None) == "refused"


@pytest.mark.parametrize(
    ("address", "is_there"),
    [("10.0.0.7", True), ("10.0.0.8", False), ("10.0.0.9", True), ("10.0.0.70", None), ("fd00::7", None)],
)
def test_the_kernels_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, is_there: bool | None) -> None:
    file = tmp_path / "arp"
    file.write_text(ARP)
    monkeypatch.setattr(silence, "_ARP", file)
    assert silence._is_on_link(address) is is_there


@pytest.mark.parametrize("text", ["", "head\n10.0.0.7 0x1\n", "head\n10.0.0.7 0x1 what\n", None])
def test_without_such_a_table_nothing_is_concluded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    file = tmp_path / "arp"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(silence, "_ARP", file)
    assert silence._is_on_link("10.0.0.7") is None
