"""What this machine says of itself: the kernel's tables over netlink and in /proc, and files of /etc."""

import struct
import tempfile
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from k3.agent import facts
from k3.core import limits
from k3.network import netlink
from k3.network.netlink import AddressEntry, LinkEntry
from tests.fuzz import making
from tests.fuzz.parser import Parser

Tables = tuple[tuple[LinkEntry, ...], tuple[AddressEntry, ...]]


def message(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """Returns one message of rtnetlink(7)."""
    whole = 16 + len(body)
    return struct.pack("=IHHII", whole if length is None else length, kind, 2, 1, 0) + body + bytes(-whole % 4)


def attribute(kind: int, payload: bytes, *, length: int | None = None) -> bytes:
    """Returns one attribute."""
    whole = 4 + len(payload)
    return struct.pack("=HH", whole if length is None else length, kind) + payload + bytes(-whole % 4)


def _tables(data: bytes) -> Tables:
    found = [(kind, body) for kind, _, body in netlink._messages(data)]
    return netlink.read_tables(found, found)


def _check_tables(tables: Tables) -> None:
    links, addresses = tables
    for link in links:
        assert isinstance(link.name, str)
        assert 0 <= link.flags < 2**32
        assert isinstance(link.kind, str)
    for each in addresses:
        assert 0 <= each.prefix_length < 256
        assert set(each.address) <= set("0123456789abcdef.:")


@st.composite
def _netlink(draw: st.DrawFn) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, draw(st.integers(-1, 5)), 0x1043, 0)
    link = {1: b"\x02\x42\0\0\0\1", 3: b"eth0\0", 10: struct.pack("=I", 3), 18: attribute(1, b"bridge\0")}
    address = {1: bytes([10, 0, 0, 7]), 2: bytes([10, 0, 0, 7]), 8: struct.pack("=I", 0x80), 11: b"\3"}
    chosen, family = draw(st.sampled_from([(link, 0), (address, 2), (address, 10), ({**address, 1: bytes(16), 2: b""}, 10)]))
    odd = draw(st.sampled_from([*chosen, 99]))
    changed = chosen if draw(st.booleans()) else {**chosen, odd: draw(st.binary(max_size=20))}
    if chosen is not link:
        body = struct.pack("=BBBBI", family, draw(st.sampled_from([24, 64, 255])), 0, 0, 2)
    length = draw(st.sampled_from([None, None, None, 0, 3, 4, 60_000]))
    body += b"".join(attribute(kind, payload, length=length if kind == odd else None) for kind, payload in changed.items())
    return message(16 if chosen is link else 20, body)


def _routes(data: bytes) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="k3-fuzz-") as folder:
        for name in ("route", "ipv6_route"):
            (Path(folder) / name).write_bytes(data)
        return facts.default_route_interfaces(Path(folder))


def _check_routes(names: tuple[str, ...]) -> None:
    assert len(set(names)) == len(names)
    assert all(name and name != "lo" and not any(map(str.isspace, name)) for name in names)


def _system(data: bytes) -> Any:
    with tempfile.TemporaryDirectory(prefix="k3-fuzz-") as folder:
        root = Path(folder)
        for name in ("etc/os-release", "proc/sys/kernel/random/boot_id"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        (root / "machine-id").write_text("a" * 32)
        return facts.system(root, root)


def _check_system(system: Any) -> None:
    for text in (system.os_image, system.kernel_version, system.boot_id):
        assert len(text) <= limits.TITLE_CHARACTERS
        assert text == "" or (text.isascii() and text.isprintable())


def _machine_id(data: bytes) -> str:
    with tempfile.TemporaryDirectory(prefix="k3-fuzz-") as folder:
        file = Path(folder) / "machine-id"
        file.write_bytes(data)
        return facts.machine_id(Path(folder) / "state", [file])


def _check_machine_id(id_: str) -> None:
    assert len(id_) == 32
    assert set(id_) <= set("0123456789abcdef")
    assert set(id_) != {"0"}


_ROUTES: Final = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n",
    "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
    f"{0:032x} 00 {0:032x} 00 fe80000000000000 00000400 00000001 00000000 00000003 eth0\n",
)
_RELEASE: Final = ('PRETTY_NAME="Debian GNU/Linux 12"\n', "# a\n", "ID=debian\n", "PRETTY_NAME='", "PRETTY_NAME=a\\ b\n")

PARSERS: Final = (
    Parser(
        name="netlink",
        read=_tables,
        inputs=_netlink() | _netlink().flatmap(making.bent) | st.lists(_netlink(), max_size=3).map(b"".join),
        check=_check_tables,
        refuses=(OSError,),
    ),
    Parser(
        name="routes",
        read=_routes,
        inputs=making.texts(*_ROUTES, "".join(_ROUTES[:2]), alphabet="0123\t\n aeth-+_"),
        check=_check_routes,
        refuses=(),
    ),
    Parser(
        name="os-release",
        read=_system,
        inputs=making.texts(*_RELEASE, alphabet="PRETY_NAM=\"'\\\n #$"),
        check=_check_system,
        refuses=(),
    ),
    Parser(
        name="machine-id",
        read=_machine_id,
        inputs=making.texts("0123456789abcdef" * 2 + "\n", "0" * 32, "uninitialized\n", alphabet="0aFg\n- "),
        check=_check_machine_id,
        refuses=(),
    ),
)
