"""`k3 network`: from flags and environment to `NetworkConfig`."""

from typing import Any

import pytest

from k3.cli.network import network_config, parser
from k3.settings.listen import Listen
from k3.settings.service_type import ServiceType
from k3.settings.structs import LogSettings, NetworkConfig, Settings
from k3.stores.memory import MemoryStorage

SETTINGS = Settings(storage=MemoryStorage(), is_default_store=False, log=LogSettings("debug", "json"))


def parsed(*arguments: str, **environ: str) -> NetworkConfig:
    return network_config(parser().parse_args(arguments), SETTINGS, environ)


def test_defaults_are_the_specifications() -> None:
    assert parsed() == NetworkConfig(
        storage=MemoryStorage(),
        listen=Listen("", 7946),
        service=ServiceType("_k3._tcp.local."),
        node_name="",
        is_name_explicit=False,
        peer_ttl_seconds=90.0,
        register_self=True,
        interfaces=(),
        forget_after_seconds=0.0,
    )


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--listen", "10.0.0.1:1"], "listen", Listen("10.0.0.1", 1)),
        (["--service=_X._udp."], "service", ServiceType("_x._udp.local.")),
        (["--domain", "LOCAL"], "service", ServiceType("_k3._tcp.local.")),
        (["--peer-ttl", "1m30s"], "peer_ttl_seconds", 90.0),
        (["--register-self"], "register_self", True),
        (["--register-self=false"], "register_self", False),
        (["--register-self", "false"], "register_self", False),
        (["--no-register-self"], "register_self", False),
        (["--no-register-self", "--register-self"], "register_self", True),
        (["--interface", "eth0", "--interface=eth1", "--interface", "eth0"], "interfaces", ("eth0", "eth1")),
        (["--forget-after", "24h"], "forget_after_seconds", 86_400.0),
    ],
)
def test_each_flag(arguments: list[str], field: str, value: Any) -> None:
    assert getattr(parsed(*arguments), field) == value


def test_the_name_from_flag_or_environment_is_explicit() -> None:
    for config in (parsed("--node-name", "web1"), parsed(NODE_NAME="web1"), parsed("--node-name", "web1", NODE_NAME="x")):
        assert (config.node_name, config.is_name_explicit) == ("web1", True)
    assert not parsed(NODE_NAME="").is_name_explicit


def test_help_shows_every_default() -> None:
    shown = parser().format_help()
    for default in (":7946", "_k3._tcp", "local.", "90s"):
        assert f"({default})" in shown
