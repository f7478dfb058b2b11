"""The configuration file's sections: misspelt, doubled, somebody else's, and what `network` and `discovery` say in it."""

from typing import Any

import pytest

from k3.cli.discovery import discovery_options
from k3.cli.discovery import parser as discovery_parser
from k3.cli.network import network_config
from k3.cli.network import parser as network_parser
from k3.cli.up import as_one_machine
from k3.cli.up import parser as up_parser
from k3.core.errors import ConfigInvalid
from k3.discovery.options import DiscoveryOptions
from k3.settings.listen import Listen
from k3.settings.service_type import ServiceType
from k3.settings.structs import NetworkConfig, Settings
from tests.test_config import Desk

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def desk(tmp_path: Any) -> Desk:
    return Desk(tmp_path)


# --- names of sections


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("storag: {type: memory}", 'k3.yaml:1: storag: unknown section; did you mean "storage"?'),
        ("role: node\nStorage: {type: memory}", 'k3.yaml:2: Storage: unknown section; did you mean "storage"?'),
        ("networks: {peer-ttl: 5s}", 'k3.yaml:1: networks: unknown section; did you mean "network"?'),
        ("Log: {level: debug}", 'k3.yaml:1: Log: unknown section; did you mean "log"?'),
        ("log: {levle: debug}", 'k3.yaml:1: log.levle: unknown key; did you mean "level"?'),
        ("etcd: {endpoints: []}", "k3.yaml:1: etcd: is a key of the section storage; write it below storage:, indented"),
        ("peer-ttl: 5s", "k3.yaml:1: peer-ttl: is a key of the section network; write it below network:, indented"),
        ("consul-addr: c:1", "k3.yaml:1: consul-addr: is a key of the section discovery"),
        (
            "storage: {type: memory}\nrole: x\nstorage: {type: sqlite}",
            "k3.yaml:3: storage is there twice, in line 1 and in line 3; keep one of them",
        ),
        (
            "storage:\n  type: memory\n  type: sqlite",
            "k3.yaml:3: storage.type is there twice, in line 2 and in line 3; keep one of them",
        ),
        ("network:\n  listen: :1\n  listen: :2", "k3.yaml:3: network.listen is there twice, in line 2 and in line 3"),
        ("network: {peer_ttl: 5s}", 'k3.yaml:1: network.peer_ttl: unknown key; did you mean "peer-ttl"?'),
        ("network: {ttl: 5s}", "k3.yaml:1: network.ttl: unknown key; did you mean peer-ttl?"),
        ("discovery: {consul-adr: x}", 'k3.yaml:1: discovery.consul-adr: unknown key; did you mean "consul-addr"?'),
        ('storage: {type: sqlite, sqlite: {path: "a\\0b"}}', "k3.yaml:1: storage.sqlite.path: has a zero byte"),
        ('storage: {type: etcd, etcd: {ca_file: "/a\\0b"}}', "k3.yaml:1: storage.etcd.ca_file: has a zero byte"),
        ('storage: {type: etcd, etcd: {endpoints: ["http://a\\0b:1"]}}', "k3.yaml:1: storage.etcd.endpoints: has a zero byte"),
        ('log: {path: "/tmp/a\\0b"}', "k3.yaml:1: log.path: has a zero byte"),
        ("debug: yes please", "k3.yaml:1: debug: expected true or false"),
        ("role: x\ndebug: {level: 1}", "k3.yaml:2: debug: expected true or false"),
        ("network: 5", "k3.yaml: network: expected a mapping (key: value)"),
        ("network: {peer-ttl: [5s, 6s]}", "k3.yaml:1: network.peer-ttl: expected one value"),
        ("network: {interface: {a: b}}", "k3.yaml:1: network.interface: expected a value or a list of values"),
    ],
)
def test_what_would_be_passed_over_is_refused_also_for_a_reader(desk: Desk, text: str, message: str) -> None:
    assert desk.refusal(text).startswith(message)


def test_sections_of_other_programs_are_not_looked_into(desk: Desk) -> None:
    text = f"role: node\nweb: {{port: 1}}\njwt: !secret x\nnode: {{a: 1, a: 2}}\ndashboard: &x [*x]\n{BOMB}network: {{}}"
    [note] = desk.load(config=desk.file(text)).notes
    assert note.event == "config.ignored"
    assert note.fields["sections"] == ("role", "web", "jwt", "node", "dashboard", *"abcdefghi")


# --- what is no configuration file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("storage:\n\ttype: memory", "k3.yaml:2: not valid YAML: line 2 begins with a tab; YAML wants spaces"),
        ("storage:\n  type: memory\n  \tsqlite: {}", "k3.yaml:3: not valid YAML: line 3 begins with a tab; YAML wants spaces"),
        ("storage:\n  type:\t{a: b}\tc", "k3.yaml:2: not valid YAML: "),
        ("storage:\n  user: a: b", "k3.yaml:2: not valid YAML: a key is where none can be; is it indented"),
        ("storage:\n   type: memory\n  sqlite: {}", "k3.yaml:3: not valid YAML: it is not indented as the lines before it"),
        ("storage: 'memory", "k3.yaml:1: not valid YAML: a quote is not closed"),
        ("storage: {}\n---\nstorage: {}", "k3.yaml:2: not valid YAML: a second document begins here (---)"),
        ("a: 1\nb: \x00", "k3.yaml:2: not valid YAML: there is a control character (0x00); is it a text file?"),
        ("\x7fELF", "k3.yaml:1: not valid YAML: there is a control character (0x7f)"),
        ("storage: {}".encode("utf-16"), "k3.yaml:1: not UTF-8, so not valid YAML; save the file as UTF-8"),
        ("[" * 5_000, "k3.yaml: not valid YAML for k3: nested too deep"),
        ("# " + "x" * 300_000, "k3.yaml: larger than 256 KiB, so not a configuration file of k3"),
        ("storage: &a {type: *a}", "k3.yaml:"),
        ("x: &x {type: memory}\nstorage: {<<: *x}", "k3.yaml:2: storage: expected a plain key (no list, no mapping, no <<)"),
        (f"{BOMB}storage: *i", "k3.yaml:1: storage: more than 10,000 values"),
        ("storage: {type: sqlite, sqlite: {path: 1" + "0" * 5_000 + "}}", "k3.yaml: not valid YAML"),
    ],
)
def test_a_file_that_is_none_is_one_clear_line(desk: Desk, text: str | bytes, message: str) -> None:
    assert desk.refusal(text).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfstorage: {type: memory}",
        b"storage:\r\n  type: memory\r\n",
        b"%YAML 1.1\n---\nstorage: {type: memory}\n...\n",
        b"x: &x memory\nstorage: {type: *x}",
    ],
)
def test_other_hands_are_read(desk: Desk, text: bytes) -> None:
    assert not desk.load(config=desk.file(text)).is_default_store


@pytest.mark.parametrize("text", ["", "# nothing", "~", "---", "network:", "storage:\nlog:\n"])
def test_an_empty_one_says_nothing(desk: Desk, text: str) -> None:
    assert desk.load(config=desk.file(text)).is_default_store


# --- network and discovery


def network(settings: Settings, *arguments: str, **environ: str) -> NetworkConfig:
    return network_config(network_parser().parse_args(arguments), settings, environ)


def discovery(settings: Settings, *arguments: str, **environ: str) -> DiscoveryOptions:
    return discovery_options(discovery_parser().parse_args(arguments), settings, {"NODE_NAME": "web1", **environ})


NETWORK = """
network:
  listen: 127.0.0.1:8946
  service: _lab._tcp
  domain: local
  peer-ttl: 5s
  interface: [eth0, eth1]
  forget-after: 24h
  node-name: 123
  register-self: no
"""
DISCOVERY = """
discovery:
  consul-addr: consul:1
  consul-token: hunter2
  service-name: db
  service-id: db-1
  service-address: 10.0.0.7
  service-port: 8946
  tags: [a, b]
  datacenter: dc1
  watch-interval: 30s
  health-check-interval: 5s
  health-check-timeout: 1s
  deregister-after: 2m
  controller-heartbeat: off
"""


def test_each_flag_of_network_is_a_key(desk: Desk) -> None:
    settings = desk.load(config=desk.file(NETWORK))
    assert network(settings) == NetworkConfig(
        storage=settings.storage,
        listen=Listen("127.0.0.1", 8946),
        service=ServiceType("_lab._tcp.local."),
        node_name="123",
        is_name_explicit=True,
        peer_ttl_seconds=5.0,
        register_self=False,
        interfaces=("eth0", "eth1"),
        forget_after_seconds=86_400.0,
    )


def test_each_flag_of_discovery_is_a_key(desk: Desk) -> None:
    found = discovery(desk.load(config=desk.file(DISCOVERY)))
    assert (found.consul.host, found.consul.port, found.consul.token) == ("consul", 1, "hunter2")
    assert (found.service, found.service_id, found.service_address, found.service_port) == ("db", "db-1", "10.0.0.7", 8946)
    assert (found.tags, found.datacenters, found.controller_heartbeat) == (("a", "b"), ("dc1",), False)
    assert (found.watch_interval_seconds, found.check_interval_seconds) == (30, 5)
    assert (found.check_timeout_seconds, found.deregister_after_seconds) == (1, 120)


def test_flag_over_environment_over_file_over_default(desk: Desk) -> None:
    settings = desk.load(config=desk.file("network: {node-name: file, peer-ttl: 5s, interface: eth9, forget-after: }"))
    assert (network(settings).node_name, network(settings).forget_after_seconds) == ("file", 0)
    assert network(settings, NODE_NAME="env").node_name == "env"
    found = network(settings, "--node-name", "flag", "--peer-ttl=9s", "--interface", "eth0", NODE_NAME="env")
    assert (found.node_name, found.peer_ttl_seconds, found.interfaces) == ("flag", 9, ("eth0",))

    settings = desk.load(config=desk.file("discovery: {consul-addr: file, consul-token: file, node-name: file}"))
    assert (discovery(settings).consul.host, discovery(settings).consul.token) == ("file", "file")
    consul = discovery(settings, CONSUL_HTTP_ADDR="env:1", CONSUL_HTTP_TOKEN="env").consul
    assert (consul.host, consul.token) == ("env", "env")
    assert discovery(settings, CONSUL_HTTP_TOKEN_FILE="/run/token").consul.token == ""
    assert discovery(settings, CONSUL_HTTP_TOKEN_FILE="/run/token").consul.token_file == "/run/token"
    consul = discovery(settings, "--consul-addr=flag", "--consul-token=flag", CONSUL_HTTP_ADDR="env").consul
    assert (consul.host, consul.token) == ("flag", "flag")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "network:\n  peer-ttl: 5",
            'k3.yaml:2: network.peer-ttl: bad duration "5", expected like 90s, 1m30s or 1.5h; did you mean 5s?',
        ),
        ("network: {peer-ttl: 1s}", 'k3.yaml:1: network.peer-ttl: bad value "1s", expected 2s or more'),
        ("network: {peer-ttl: -5s}", 'k3.yaml:1: network.peer-ttl: bad duration "-5s", must not be negative'),
        ("network: {listen: 7946}", 'k3.yaml:1: network.listen: bad value "7946", expected [address]:port like :7946'),
        ("network: {node-name: Web_1}", 'k3.yaml:1: network.node-name: bad value "Web_1", expected lower-case'),
        ("network: {node-name: ''}", 'k3.yaml:1: network.node-name: bad value ""'),
        ("network: {register-self: maybe}", 'k3.yaml:1: network.register-self: bad value "maybe", expected true or false'),
    ],
)
def test_an_error_names_the_line_in_the_flags_words(desk: Desk, text: str, told: str) -> None:
    settings = desk.load(config=desk.file(text))
    with pytest.raises(ConfigInvalid) as refused:
        network(settings)
    assert str(refused.value).replace(f"{desk.directory}/", "").startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("discovery: {service-port: 70000}", 'k3.yaml:1: discovery.service-port: bad value "70000", expected 0 to 65535'),
        ("discovery: {service-address: web1}", 'k3.yaml:1: discovery.service-address: bad value "web1", expected an IP'),
        ("discovery: {consul-addr: 'c:port'}", 'k3.yaml:1: discovery.consul-addr: bad value "c:port", expected HOST:PORT'),
        ("discovery: {consul-token: 'hunter 2'}", "k3.yaml:1: discovery.consul-token: not a token"),
        ("discovery: {watch-interval: 15}", 'k3.yaml:1: discovery.watch-interval: bad duration "15"'),
    ],
)
def test_an_error_of_discovery_names_the_line_too(desk: Desk, text: str, told: str) -> None:
    settings = desk.load(config=desk.file(text))
    with pytest.raises(ConfigInvalid) as refused:
        discovery(settings)
    assert str(refused.value).replace(f"{desk.directory}/", "").startswith(told)
    assert "hunter" not in str(refused.value)


def test_an_error_of_the_environment_names_the_variable(desk: Desk) -> None:
    with pytest.raises(ConfigInvalid, match=r'^NODE_NAME: bad value "Web_1"'):
        network(desk.load(), NODE_NAME="Web_1")
    with pytest.raises(ConfigInvalid, match=r'^CONSUL_HTTP_ADDR: bad value "c:port"'):
        discovery(desk.load(), CONSUL_HTTP_ADDR="c:port")


def up(settings: Settings) -> tuple[NetworkConfig, DiscoveryOptions]:
    chosen, both = up_parser().parse_args([]), as_one_machine(settings)
    config = network_config(chosen, both, {})
    return config, discovery_options(chosen, both, {}, one_port=config.listen.port)


def test_up_takes_both_sections(desk: Desk) -> None:
    text = "network: {listen: ':8946', node-name: web1, peer-ttl: 5s}\ndiscovery: {service-name: db, service-port: 8946}"
    config, options = up(desk.load(config=desk.file(text)))
    assert (config.node_name, config.peer_ttl_seconds, config.listen.port) == ("web1", 5, 8946)
    assert (options.name, options.service, options.service_port) == ("web1", "db", 8946)
    config, options = up(desk.load(config=desk.file("discovery: {node-name: web2, register-self: no}")))
    assert (config.node_name, options.name, config.register_self, options.register_self) == ("web2", "web2", False, False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "network: {node-name: a}\ndiscovery: {node-name: b}",
            "k3.yaml:2: discovery.node-name: differs from k3.yaml:1: network.node-name; k3 up is one machine: keep one of them",
        ),
        (
            "discovery: {node-name: a, service-port: 1}",
            "k3.yaml:1: discovery.service-port: k3 up has one port for both modules, that of --listen (7946)",
        ),
    ],
)
def test_up_refuses_two_words_about_one_thing(desk: Desk, text: str, told: str) -> None:
    settings = desk.load(config=desk.file(text))
    with pytest.raises(ConfigInvalid) as refused:
        up(settings)
    assert str(refused.value).replace(f"{desk.directory}/", "").startswith(told)


# --- what another process needs to be told


@pytest.mark.parametrize(
    ("flags", "environ", "wanted"),
    [
        ({}, {}, ("", "")),
        ({"store": "sqlite:///srv/my list.db"}, {}, (" --store 'sqlite:///srv/my list.db'", "")),
        ({"store": "etcd://h1:1,h2:2/pre?ca_file=/ca"}, {}, (" --store 'etcd://h1:1,h2:2/pre?ca_file=/ca'", "")),
        ({}, {"K3_STORE": "etcd://h:1"}, (" --store etcd://h:1", "")),
        (
            {"store": "mysql://u@h/d"},
            {"K3_STORE_PASSWORD": "hunter2"},
            (" --store mysql://u@h/d", "K3_STORE_PASSWORD=... "),
        ),
        ({"store": "mysql://u:hunter2@h/d"}, {}, (" --store mysql://u@h:3306/d", "K3_STORE_PASSWORD=... ")),
    ],
)
def test_a_hint_carries_the_store_that_was_named(
    desk: Desk, flags: dict[str, Any], environ: dict[str, str], wanted: tuple[str, str]
) -> None:
    desk.environ.update(environ)
    found = desk.load(reading=True, **flags).reader
    assert (found.flags, found.environ, found.is_alone) == (*wanted, False)


def test_a_hint_carries_the_file_that_was_named(desk: Desk) -> None:
    path = desk.file("storage: {type: mysql, mysql: {password: hunter2}}")
    assert desk.load(config=path).reader.flags == f" --config {path}"
    desk.environ["CONFIG_PATH"] = path
    assert desk.load().reader.flags == f" --config {path}"
    assert desk.load(store="memory://").reader.is_alone
