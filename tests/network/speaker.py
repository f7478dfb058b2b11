"""A program for a host of the laboratory: announces one node, or a crowd, and prints what it hears, line by line.

    speaker.py NODE [--crowd N] [--silent]

Prints `ready TIME`, then `heard {json}`, `left INSTANCE` and, after every burst of news, `refused {json}` where that changed.
SIGTERM says goodbye and prints `cpu SECONDS`. It follows changes of the links as an agent does.
"""

import argparse
import asyncio
import json
import signal
import time
from contextlib import aclosing, suppress
from dataclasses import asdict, replace

from k3.core.observation import Facts
from k3.network import link_changes
from k3.network.announce import Announcer, instance_name
from k3.network.browse import Browser
from k3.network.links import Links
from k3.network.mdns import Mdns
from k3.network.messages import Announcement, Withdrawal
from k3.settings.service_type import ServiceType

SERVICE = ServiceType.parse("_k3._tcp", "local.")


def facts_of(node: str, number: int, here: Links) -> Facts:
    return Facts(
        node=node,
        addresses=here.addresses,
        port=7946,
        pid=100 + number,
        id=f"{number:08x}{node.encode().hex():0<24.24}",
        boot="0123456789abcdef",
    )


class Speaker:
    def __init__(self, mdns: Mdns, facts: list[Facts], *, silent: bool) -> None:
        self.mdns = mdns
        self.facts = facts
        self.announcers = [] if silent else [Announcer(mdns, SERVICE) for _ in facts]
        self.browser = Browser(mdns, SERVICE, instance_name(facts[0].node, facts[0].id))
        self.shown: dict[str, int] = {}

    def announce(self) -> None:
        for announcer, facts in zip(self.announcers, self.facts, strict=False):
            announcer.announce(facts)

    async def listen(self) -> None:
        async for news in self.browser:
            match news:
                case Announcement():
                    say(f"heard {json.dumps(asdict(news) | {'at': time.time()})}")
                case Withdrawal(instance=instance):
                    say(f"left {instance}")

    async def follow(self) -> None:
        async with aclosing(link_changes.changes(self.mdns.links)) as changes:
            async for here in changes:
                self.facts = [replace(each, addresses=here.addresses) for each in self.facts]
                self.announce()
                await self.mdns.update(here)
                self.browser.relinked()
                say(f"links {json.dumps(here.addresses)}")

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            refused = {reason.value: count for reason, count in self.browser.refused.items()}
            if refused != self.shown:
                self.shown = refused
                say(f"refused {json.dumps(refused)}")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its output is its purpose


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("node")
    parser.add_argument("--crowd", type=int, default=1)
    parser.add_argument("--silent", action="store_true")
    options = parser.parse_args()
    here = link_changes.read()
    mdns = await Mdns.open(here)
    names = [options.node] if options.crowd == 1 else [f"{options.node}{number}" for number in range(options.crowd)]
    facts = [facts_of(name, number, here) for number, name in enumerate(names)]
    speaker = Speaker(mdns, facts, silent=options.silent)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    speaker.announce()
    say(f"ready {time.time()}")
    with suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(each) for each in (speaker.browser.run(), speaker.listen(), speaker.follow(), speaker.count())
            ]
            await stop.wait()
            for task in running:
                task.cancel()
    speaker.browser.close()
    async with asyncio.TaskGroup() as tasks:
        for announcer in speaker.announcers:
            tasks.create_task(announcer.aclose())
    await mdns.aclose()
    say(f"cpu {time.process_time():.3f}")


if __name__ == "__main__":
    asyncio.run(main())
