"""Where tests of the MySQL backend keep their data, and what is left behind by a store."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakSet

from k3.stores.mysql import MysqlStorage
from k3.testing.leaks import LeakCheck
from tests.servers import Mariadb

HANG_SECONDS = 60.0
_prepared: "WeakSet[asyncio.AbstractEventLoop]" = WeakSet()


def storage_on(server: Mariadb, database: str) -> MysqlStorage:
    """An empty database."""
    return MysqlStorage(
        host=server.address,
        port=server.port,
        user=server.user,
        password=server.password,
        database=server.new_database(database),
    )


async def leak_check() -> LeakCheck:
    """From here on; the loop's thread for names is there already, as it stays, and there is only one."""
    loop = asyncio.get_running_loop()
    if loop not in _prepared:
        _prepared.add(loop)
        loop.set_default_executor(ThreadPoolExecutor(1))
        await loop.getaddrinfo("localhost", None)
    return LeakCheck()


async def settled(leaks: LeakCheck) -> None:
    """Nothing is left, once what takes a moment to end (TLS, a proxy, a process) has ended."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            try:
                leaks.finish()
            except AssertionError:
                await asyncio.sleep(0.01)
            else:
                return
