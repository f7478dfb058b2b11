"""`k3 discovery`: from flags and environment to `DiscoveryOptions`, or one clear line."""

from typing import Any

import pytest

from k3.cli.discovery import discovery_options, parser, run
from k3.cli.usage import BadUsage
from k3.core.errors import ConfigInvalid
from k3.discovery.options import DiscoveryOptions
from k3.discovery.settings import ConsulSettings
from k3.settings.structs import Settings
from k3.stores.memory import MemoryStorage


def parsed(*arguments: str, **environ: str) -> DiscoveryOptions:
    settings = Settings(storage=MemoryStorage(), is_default_store=False)
    return discovery_options(parser().parse_args(arguments), settings, {"NODE_NAME": "web1", **environ})


def test_defaults_are_the_specifications() -> None:
    found = parsed()
    assert found == DiscoveryOptions(
        name="web1",
        consul=ConsulSettings(scheme="http", host="localhost", port=8500),
        service="k3-node",
        service_id="",
        service_address="",
        service_port=7946,
        tags=(),
        datacenters=(),
        register_self=True,
        watch_interval_seconds=15.0,
        check_interval_seconds=10.0,
        check_timeout_seconds=3.0,
        deregister_after_seconds=30.0,
        controller_heartbeat=True,
    )
    assert found.full_service_id == "k3-node-web1"


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--service-name", "db"], "full_service_id", "db-web1"),
        (["--service-id", "x"], "full_service_id", "x"),
        (["--service-address", "10.0.0.7"], "service_address", "10.0.0.7"),
        (["--service-port=0"], "service_port", 0),
        (["--tags", "a,,b,a"], "tags", ("a", "b")),
        (["--datacenter", "dc1", "--datacenter=dc2", "--datacenter", "dc1"], "datacenters", ("dc1", "dc2")),
        (["--node-name", "db1"], "name", "db1"),
        (["--register-self=false"], "register_self", False),
        (["--no-register-self"], "register_self", False),
        (["--watch-interval", "1m30s"], "watch_interval_seconds", 90.0),
        (["--health-check-interval", "1s"], "check_interval_seconds", 1.0),
        (["--health-check-timeout", "500ms"], "check_timeout_seconds", 0.5),
        (["--deregister-after", "1h"], "deregister_after_seconds", 3600.0),
        (["--controller-heartbeat=false"], "controller_heartbeat", False),
        (["--consul-addr", "https://c:1"], "consul", ConsulSettings(scheme="https", host="c", port=1)),
        (["--consul-token", "t"], "consul", ConsulSettings(token="t")),
    ],
)
def test_each_flag(arguments: list[str], field: str, value: Any) -> None:
    assert getattr(parsed(*arguments), field) == value


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--node-name", "Web_1"], '--node-name: bad value "Web_1", expected lower-case'),
        (["--node-name", ""], '--node-name: bad value ""'),
        (["--service-name", "a b"], '--service-name: bad value "a b", expected letters'),
        (["--service-id", "a b"], '--service-id: bad value "a b", expected no spaces'),
        (["--service-port", "http"], '--service-port: bad value "http", expected 0 to 65535'),
        (["--service-port", "65536"], '--service-port: bad value "65536", expected 0 to 65535'),
        (["--service-address", "web1"], '--service-address: bad value "web1", expected an IP address'),
        (["--watch-interval", "15"], '--watch-interval: bad duration "15"'),
        (["--watch-interval", "100ms"], '--watch-interval: bad value "0.1s", expected 1s or more'),
        (["--health-check-timeout", "0"], '--health-check-timeout: bad value "0s", expected more than 0'),
        (["--register-self=maybe"], '--register-self: bad value "maybe"'),
        (["--datacenter", ""], '--datacenter: bad value ""'),
        (["--consul-addr", "c:port"], '--consul-addr: bad value "c:port", expected HOST:PORT'),
    ],
)
def test_a_bad_value_is_one_clear_line(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parsed(*arguments)
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_a_dry_run_is_for_once_only() -> None:
    with pytest.raises(BadUsage, match="--dry-run needs --once"):
        run(["--dry-run"])


def test_help_shows_the_defaults() -> None:
    text = parser().format_help()
    for default in ("localhost:8500", "k3-node", "7946", "15s", "10s", "3s", "30s"):
        assert f"({default}" in text or default in text
