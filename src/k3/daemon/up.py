"""`k3 up`: network, the API server and, where Consul is configured, discovery in one process, on one store, with one name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from k3.agent.cache import Cache
from k3.agent.faults import Faults
from k3.agent.tls import without_authorities
from k3.core.sources import DISCOVERY
from k3.core.store import Store
from k3.daemon.network import run_network
from k3.daemon.served import recorded
from k3.discovery.options import DiscoveryOptions
from k3.discovery.service import DiscoverySource
from k3.doctor.machine import Case
from k3.network.service import NetworkSource
from k3.server.access.settings import AccessSettings
from k3.settings.structs import NetworkConfig, Reader


def run_up(config: NetworkConfig, options: DiscoveryOptions | None, access: AccessSettings | None, reader: Reader) -> int:
    """Runs until told to stop; returns the exit code. Raises K3Error for whatever it cannot start or go on with.

    `options` is None where Consul is not configured, and `access` where the store is not to be served.
    """

    @asynccontextmanager
    async def serve(store: Store, state_dir: Path, nodes: Cache, faults: Faults) -> AsyncIterator[str]:
        with without_authorities():
            from k3.daemon.examined import examining  # noqa: PLC0415 - the same
            from k3.daemon.server import own_addresses  # noqa: PLC0415 - its packages may be missing where nothing is served
            from k3.server.serving import Companion, Serving  # noqa: PLC0415 - the same

        case = Case(reader=reader, network=config, discovery=options, state_dir=state_dir)
        assert access is not None  # noqa: S101 - it is only called where it is given
        serving = Serving(store, access, state_dir, faults, own_addresses, agent=Companion(nodes, examining(case)))
        async with serving.running():
            with recorded(state_dir, serving.url):
                yield serving.url

    def beside(network: NetworkSource, state_dir: Path) -> DiscoverySource:
        assert options is not None  # noqa: S101 - it is only called where it is given
        interfaces = [each.name for each in network.links.interfaces]
        return DiscoverySource(
            options, network.shared, state_dir, interfaces=interfaces, named=network.name, boot=network.facts.boot
        )

    return run_network(config, reader, beside=None if options is None else (DISCOVERY, beside), serve=serve if access else None)
