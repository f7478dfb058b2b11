"""The few calls k3 makes to Consul's HTTP API: to its local agent and, through that, to the catalog of its servers."""

from k3.discovery.catalog import Catalog
from k3.discovery.local_agent import LocalAgent
from k3.discovery.sender import Sender
from k3.discovery.settings import ConsulSettings


class Consul:
    """A client of one Consul agent. Closed with `aclose`."""

    def __init__(self, settings: ConsulSettings) -> None:
        """Raises ConfigInvalid for files that cannot be used."""
        self._sender = Sender(settings)
        self.agent = LocalAgent(self._sender)
        """What the agent is asked of itself and of the services that it holds."""
        self.catalog = Catalog(self._sender)
        """What the servers are asked, through the agent."""

    @property
    def where(self) -> str:
        """The agent's address, for people."""
        return self._sender.where

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._sender.aclose()
