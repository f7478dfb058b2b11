"""The mDNS responder and a kernel that has no sockets left for it."""

import pytest

from tests.lab import Lan

pytestmark = pytest.mark.netns

JOINS = """
import asyncio, logging, os, resource, sys
from k3.network import link_changes
from k3.network.links import Links
from k3.network.mdns import Mdns

logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout, level=logging.INFO)

async def main():
    here = link_changes.read()
    mdns = await Mdns.open(Links())
    running = asyncio.create_task(mdns.run())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    await mdns.update(here)
    print("senders", len(mdns.zeroconf.engine.senders), flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while not mdns.zeroconf.engine.senders:
        await asyncio.sleep(0.05)
    print("joined", sorted(sender.sock_name[0] for sender in mdns.zeroconf.engine.senders), flush=True)
    running.cancel()
    await mdns.aclose()

asyncio.run(main())
"""


def test_what_could_not_be_joined_is_joined_later(lan: Lan) -> None:
    host = lan.host("a")
    lines = host.python(JOINS).splitlines()
    assert "senders 0" in lines
    assert [line for line in lines if "mdns.join_failed" in line] == ["WARNING mdns.join_failed"]
    assert next(line for line in lines if line.startswith("joined")).startswith("joined ['10.77.1.1'")
