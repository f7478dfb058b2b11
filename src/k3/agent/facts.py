"""What this machine is: its identity, name, operating system and architecture.

Reads `/etc`, `/proc` and the kernel's interface table. Writes into the state directory a random machine id where the system
has none, and what sets this machine apart from another one with the same id. Knows nothing about peers, stores or interfaces
to announce on.
"""

import errno
import fcntl
import hashlib
import hmac
import os
import platform
import re
import secrets
import shlex
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from k3.agent.refusals import EXHAUSTED
from k3.agent.state_file import replace_text
from k3.core import limits
from k3.core.errors import Invalid, StartFailed
from k3.core.node import valid_name
from k3.core.observation import System
from k3.core.records import dataclass

OS: Final = "linux"
ID_DIGITS: Final = 32
BOOT_DIGITS: Final = 16

_MACHINE_ID_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_PARTS: Final = "clones"
_PARTS_KEPT: Final = 15
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{32}")
_PROC_NET: Final = Path("/proc/thread-self/net")  # of this thread: it may be in another network namespace
_SIOCGIFHWADDR: Final = 0x8927
_NAME_BYTES: Final = 15
_RTF_UP: Final = 0x1

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}


def machine_id(state_dir: Path, files: Sequence[Path] = _MACHINE_ID_FILES) -> str:
    """Returns the id of this installation, 32 hex digits (machine-id(5)); else a random one that is kept in `state_dir`.

    Raises StartFailed where one would have to be kept and cannot be.
    """
    return known_machine_id(state_dir, files) or _kept_id(state_dir)


def known_machine_id(state_dir: Path, files: Sequence[Path] = _MACHINE_ID_FILES) -> str:
    """Returns the id as it is kept; empty where there is none yet. Makes none."""
    return next((found for file in (*files, state_dir / "machine-id") if (found := _read_id(file))), "")


def _read_id(file: Path) -> str:
    try:
        with file.open("rb") as source:
            text = source.read(64).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return text if _MACHINE_ID.fullmatch(text) and text.strip("0") else ""


def _kept_id(state_dir: Path) -> str:
    file = state_dir / "machine-id"
    if found := _read_id(file):
        return found
    fresh = state_dir / f".machine-id.{secrets.token_hex(8)}"
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        fresh.touch(mode=0o600, exist_ok=False)  # machine-id(5): it is not for everybody to read
        fresh.write_text(secrets.token_hex(16) + "\n", encoding="ascii")
        try:
            # A link fails where another process was first; a rename would take its id away again.
            with suppress(FileExistsError):
                os.link(fresh, file)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        msg = f"cannot keep a machine id in {state_dir}: {error.strerror}; make it writable or create /etc/machine-id"
        raise StartFailed(msg) from error
    if found := _read_id(file):
        return found
    msg = f"{file} does not hold 32 hexadecimal digits; remove it to have a new one made"
    raise StartFailed(msg)


@dataclass(frozen=True, slots=True)
class Identity:
    """The id of this machine on its network. `clone_of`: the id it would share with a clone, had it no part."""

    id: str
    clone_of: str = ""


def identity(state_dir: Path, interfaces: Sequence[str] = ()) -> Identity:
    """Returns 32 hex digits: a hash of the machine id, one MAC address, and the part that sets a known clone apart (ADR 29).

    The MAC is the default route's interface's, else that of the first of `interfaces` (names) which has one, else none: a
    machine keeps its id over reboots and address changes, and whatever else is plugged in. Raises StartFailed.
    """
    mac = ""
    for name in (*default_route_interfaces(), *interfaces):
        mac = mac_address(name)
        if mac:
            break
    return set_apart(state_dir, Identity(_digest(f"k3 identity\n{machine_id(state_dir)}\n{mac}\n")))


def set_apart(state_dir: Path, known: Identity) -> Identity:
    """Returns the same machine as it is known by now: another process of it may have found a clone."""
    inherited = known.clone_of or known.id
    part = _parts(state_dir).get(inherited, "")
    return Identity(_digest(f"k3 clone\n{inherited}\n{part}\n"), inherited) if part else known


def part_ways(state_dir: Path, known: Identity) -> Identity:
    """Returns another identity for a machine that is a clone of another; it is kept in the state directory for the next start.

    It counts for as long as the machine would have the same id as the other one. Raises OSError where it cannot be kept.
    """
    inherited = known.clone_of or known.id
    parts = [line for line in _parts(state_dir).items() if line[0] != inherited][-_PARTS_KEPT:]
    parts.append((inherited, secrets.token_hex(16)))
    replace_text(state_dir / _PARTS, "".join(f"{id_} {part}\n" for id_, part in parts))
    return set_apart(state_dir, Identity(inherited))


def new_identity_advice(state_dir: Path, files: Sequence[Path] = _MACHINE_ID_FILES) -> str:
    """Returns what a person is to do on one of two clones, so that every program can tell them apart."""
    if any(_read_id(file) for file in files):
        return f"rm -f {' '.join(map(str, files))}; systemd-machine-id-setup; and restart k3"
    return f"rm {state_dir / 'machine-id'}; and restart k3"


def _parts(state_dir: Path) -> dict[str, str]:
    """Returns the parts that set clones apart, by the id they share: one state directory may serve several networks."""
    lines = (line.split() for line in _lines(state_dir / _PARTS))
    return {line[0]: line[1] for line in lines if len(line) == 2 and all(map(_MACHINE_ID.fullmatch, line))}  # noqa: PLR2004 - id and part


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def system(state_dir: Path, root: Path = Path("/")) -> System:
    """Returns what this machine runs on, as its Node shows it. What cannot be read, or is no plain text, is left out."""
    return System(
        os_image=_plain(_os_release(root).get("PRETTY_NAME", "")),
        kernel_version=_plain(platform.release()),
        machine_id=application_id(machine_id(state_dir)),
        boot_id=_plain("".join(_lines(root / "proc/sys/kernel/random/boot_id"))),
    )


def application_id(of_machine: str) -> str:
    """Returns the machine id as it may be shown: machine-id(5) wants it hashed with a key of the application, never bare."""
    return hmac.new(bytes.fromhex(of_machine), b"k3 nodeInfo", hashlib.sha256).hexdigest()[:ID_DIGITS]


def _os_release(root: Path) -> dict[str, str]:
    """Reads os-release(5): assignments as a shell reads them, in /etc or else /usr/lib."""
    lines = _lines(root / "etc/os-release") or _lines(root / "usr/lib/os-release")
    values = {}
    for line in lines:
        name, equals, value = line.partition("=")
        with suppress(ValueError):  # unbalanced quotes
            if equals and not name.startswith("#"):
                values[name.strip()] = " ".join(shlex.split(value))
    return values


def _plain(text: str) -> str:
    stripped = text.strip()
    return stripped if stripped.isascii() and stripped.isprintable() and len(stripped) <= limits.TITLE_CHARACTERS else ""


def boot_id() -> str:
    """Returns 16 random hex digits; each run of an agent has others."""
    return secrets.token_hex(BOOT_DIGITS // 2)


def mac_address(interface: str) -> str:
    """Returns `02:42:ac:11:00:02`, or empty where the interface has none or does not exist."""
    name = interface.encode()
    if not 0 < len(name) <= _NAME_BYTES:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFHWADDR, struct.pack("256s", name))
        except OSError:
            return ""
    mac = answer[18:24]
    return mac.hex(":") if any(mac) else ""


def default_route_interfaces(proc_net: Path = _PROC_NET) -> tuple[str, ...]:
    """Returns the names of the interfaces that default routes leave through: IPv4 first, the smallest metric first, each once.

    Raises OSError while the kernel is out of descriptors or memory: no default route is something else.
    """
    found = sorted(_default_routes_v4(proc_net / "route")) + sorted(_default_routes_v6(proc_net / "ipv6_route"))
    return tuple(dict.fromkeys(name for _metric, name in found if name != "lo"))


def _default_routes_v4(table: Path) -> list[tuple[int, str]]:
    routes = []
    for line in _rows(table)[1:]:
        match line.split():
            case [name, "00000000", _gateway, flags, _, _, metric, "00000000", *_] if _number(flags, 16) & _RTF_UP:
                routes.append((_number(metric, 10), name))
            case _:
                pass
    return routes


def _default_routes_v6(table: Path) -> list[tuple[int, str]]:
    routes = []
    for line in _rows(table):
        match line.split():
            case [target, "00", _, _, _, metric, _, _, flags, name] if not target.strip("0") and _number(flags, 16) & _RTF_UP:
                routes.append((_number(metric, 16), name))
            case _:
                pass
    return routes


def _number(text: str, base: int) -> int:
    """Returns a number in a table of the kernel; 0 for what is none."""
    try:
        return int(text, base)
    except ValueError:
        return 0


def _rows(table: Path) -> list[str]:
    """Returns a table of the kernel; empty where it has none. Raises OSError while it cannot be read."""
    try:
        return table.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return []


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def hostname() -> str:
    """Returns the machine's host name as a Node name: lower case, `_` as `-`. Not checked."""
    return socket.gethostname().lower().replace("_", "-")


def default_node_name() -> str:
    """Returns the name this machine takes when it was given none. Raises Invalid where the host name is no Node's name."""
    name = hostname()
    if not valid_name(name):
        msg = (
            f"the host name {socket.gethostname()!r} cannot be a Node's name "
            "(letters, digits, '-' and '.', beginning and ending with a letter or digit); give one with --node-name"
        )
        raise Invalid(msg)
    return name


def architecture(machine: str = "") -> str:
    """Returns the processor in Kubernetes' spelling (Go's GOARCH), such as amd64, arm64, arm or 386."""
    name = (machine or platform.machine()).lower()
    if name.startswith(("armv", "armeb")) or name == "arm":
        return "arm64" if name.startswith("armv8") and struct.calcsize("P") == struct.calcsize("Q") else "arm"
    return _ARCHITECTURES.get(name, name)


def holder_of_port(port: int, proc: Path = Path("/proc"), proc_net: Path = _PROC_NET) -> str:
    """Returns the process that listens on a TCP port here, as `name (pid 123)`; empty where that cannot be known."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(proc_net / table, port)}
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        if process.name.isdigit() and _holds(process, wanted):
            command = "".join(_lines(process / "comm")).strip()
            return f"{command or '?'} (pid {process.name})"
    return ""


def is_listened_at(port: int, proc_net: Path = _PROC_NET) -> bool:
    """Whether a process of whatever user listens on a TCP port at every address of this machine."""
    found = [row for table in ("tcp", "tcp6") for row in _listeners(proc_net / table, port)]
    return any(not row[1].partition(":")[0].strip("0") for row in found)


def _listening(table: Path, port: int) -> list[str]:
    return [row[9] for row in _listeners(table, port)]


def _listeners(table: Path, port: int) -> list[list[str]]:
    suffix = f":{port:04X}"
    rows = (line.split() for line in _lines(table)[1:])
    return [row for row in rows if len(row) > 9 and row[3] == "0A" and row[1].endswith(suffix)]  # noqa: PLR2004 - the columns of proc(5)


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        return any(str(file.readlink()) in wanted for file in (process / "fd").iterdir())
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ESRCH}:
            return False
        raise
