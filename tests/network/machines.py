"""Many machines on one host of the laboratory: they announce themselves and answer at their addresses, without an agent each.

As a program: machines.py OWN_ADDRESS FIRST COUNT. Prints READY.
"""

import asyncio
import contextlib
import hashlib
import json
import socket
import sys
from pathlib import Path

from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from tests.lab import Host, Lan, mdns

PORT = 7946
ROOT = Path(__file__).parents[2]


def start(lan: Lan, host: Host, *, first: int, count: int) -> None:
    """Have a host be so many machines. The LAN is 10.77.0.0/16."""
    host.ip(*(f"address add {address(number)}/16 dev eth0" for number in range(first, first + count)))
    argv = [sys.executable, __file__, lan.address(host), str(first), str(count)]
    host.start(argv, env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}).wait_for("READY")


def service(number: int) -> ServiceInfo:
    """One machine's records, as `k3 network` announces them."""
    node, id_ = f"n{number:04}", hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
    instance = f"{node}-{id_[:8]}"
    text = {"node": node, "port": str(PORT), "pid": "4242", "id": id_, "boot": id_[16:]}
    packed = socket.inet_aton(address(number))
    return ServiceInfo(
        mdns.TYPE, f"{instance}.{mdns.TYPE}", port=PORT, properties=text, server=f"{instance}.local.", addresses=[packed]
    )


def address(number: int) -> str:
    """Where a machine is."""
    return f"10.77.{100 + number // 250}.{number % 250 + 1}"


def info(number: int) -> bytes:
    """What a machine answers."""
    text = {key.decode(): (value or b"").decode() for key, value in service(number).properties.items()}
    said = {"node": text["node"], "port": PORT, "pid": 4242, "addrs": [address(number)], "id": text["id"], "boot": text["boot"]}
    return json.dumps(said).encode()


async def respond(own: str, first: int, count: int) -> None:
    """Be so many machines, whose addresses this host has: all registered, nothing said unasked. `own`: where it speaks mDNS."""
    answers = {address(number): info(number) for number in range(first, first + count)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            body = answers[writer.get_extra_info("sockname")[0]]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", PORT, backlog=1_024)
    async with server, AsyncZeroconf(interfaces=[own]) as responder:
        for number in range(first, first + count):
            responder.zeroconf.registry.async_add(service(number))
        print("READY", flush=True)  # noqa: T201 - its output is its purpose
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(respond(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
