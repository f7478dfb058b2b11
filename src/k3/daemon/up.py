"""`k3 up`: network and discovery in one process, on one store, with one health server and one name."""

from pathlib import Path

from k3.core.sources import DISCOVERY
from k3.daemon.network import run_network
from k3.discovery.options import DiscoveryOptions
from k3.discovery.service import DiscoverySource
from k3.network.service import NetworkSource
from k3.settings.structs import NetworkConfig, Reader


def run_up(config: NetworkConfig, options: DiscoveryOptions, reader: Reader) -> int:
    """Runs until told to stop; returns the exit code. Raises K3Error for whatever it cannot start or go on with."""

    def beside(network: NetworkSource, state_dir: Path) -> DiscoverySource:
        interfaces = [each.name for each in network.links.interfaces]
        return DiscoverySource(
            options, network.shared, state_dir, interfaces=interfaces, named=network.name, boot=network.facts.boot
        )

    return run_network(config, reader, beside=(DISCOVERY, beside))
