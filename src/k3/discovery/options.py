"""What a person may set for `k3 discovery`, as one frozen struct. No I/O here."""

from dataclasses import field
from ipaddress import ip_address
from typing import Final

from k3.core import limits, node, times
from k3.core.records import dataclass
from k3.discovery import names
from k3.discovery.mirror import MirrorSettings
from k3.discovery.settings import ConsulSettings
from k3.settings.parsing import bad_value
from k3.settings.structs import expected_name

LEAST_INTERVAL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryOptions:
    """What a person wants of `k3 discovery`. Raises ConfigInvalid when made of what cannot work."""

    name: str
    consul: ConsulSettings = field(default_factory=ConsulSettings)
    service: str = "k3-node"
    service_id: str = ""
    """Empty: `<service>-<name>`."""
    service_address: str = ""
    """Empty: the address of the route to Consul."""
    service_port: int = 7946
    tags: tuple[str, ...] = ()
    datacenters: tuple[str, ...] = ()
    """Empty: all."""
    register_self: bool = True
    watch_interval_seconds: float = 15.0
    check_interval_seconds: float = 10.0
    check_timeout_seconds: float = 3.0
    deregister_after_seconds: float = 30.0
    controller_heartbeat: bool = True

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        intervals = {
            "--watch-interval": self.watch_interval_seconds,
            "--health-check-interval": self.check_interval_seconds,
            "--deregister-after": self.deregister_after_seconds,
        }
        checks: list[tuple[object, str, object, str]] = [
            (node.valid_name(self.name), "--node-name", self.name, expected_name(self.name)),
            (names.is_service(self.service), "--service-name", self.service, "letters, digits, - and . as in k3-node"),
            (not self.service_id or names.is_own_service_id(self.service_id), "--service-id", self.service_id, "no spaces"),
            (0 <= self.service_port <= limits.PORT, "--service-port", self.service_port, f"0 to {limits.PORT}"),
            (_is_address(self.service_address), "--service-address", self.service_address, "an IP address of this machine"),
            (
                self.check_timeout_seconds > 0,
                "--health-check-timeout",
                times.duration(self.check_timeout_seconds),
                "more than 0",
            ),
            *[(each, "--datacenter", each, "the name of one") for each in self.datacenters],
            *[
                (seconds >= LEAST_INTERVAL_SECONDS, flag, times.duration(seconds), "1s or more")
                for flag, seconds in intervals.items()
            ],
        ]
        for holds, flag, value, expected in checks:
            if not holds:
                raise bad_value(flag, str(value), expected)

    @property
    def full_service_id(self) -> str:
        """The service ID that Consul gets."""
        return self.service_id or f"{self.service}-{self.name}"

    @property
    def mirror(self) -> MirrorSettings:
        """The part of it that the mirror needs."""
        return MirrorSettings(
            service=self.service,
            datacenters=self.datacenters,
            watch_interval_seconds=self.watch_interval_seconds,
            controller_heartbeat=self.controller_heartbeat,
        )


def _is_address(text: str) -> bool:
    if not text:
        return True
    try:
        return not ip_address(text).is_multicast
    except ValueError:
        return False
