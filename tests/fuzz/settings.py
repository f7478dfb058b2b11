"""What people write to set k3 up: the configuration file, and the values of flags."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from k3.cli.discovery import discovery_options
from k3.cli.network import network_config
from k3.core import limits, node, times
from k3.core.errors import ConfigInvalid, Invalid
from k3.settings import backends, parsing
from k3.settings.listen import Listen
from k3.settings.load import Flags, Place, load
from k3.settings.service_type import ServiceType
from k3.settings.storage import read_url
from k3.settings.structs import NetworkConfig, Settings, Storage, expected_name
from tests.fuzz import making
from tests.fuzz.parser import Parser, text_of

PLACE: Final = Place({"HOME": "/home/k3"}, is_root=False, system_state=Path("/nonexistent"))
NO_FLAGS: Final = argparse.Namespace()
SECRET: Final = "s3cr3t-word"

CONFIG: Final = f"""\
storage:
  type: mysql
  sqlite: {{path: /tmp/k3.db}}
  mysql:
    host: db.example
    port: 3306
    user: k3
    password: {SECRET}
    max_open_conns: 5
    ssl_mode: verify_ca
    ca_file: /etc/ca.pem
  etcd:
    endpoints: [http://10.0.0.5:2379, "https://[fd00::1]:2379"]
    prefix: /kubernetes
    dial_timeout: 5s
    compact: true
log:
  level: debug
  format: json
  path: /tmp/k3.log
debug: false
network:
  listen: 127.0.0.1:7946
  peer-ttl: 5s
  node-name: web1
  interface: [eth0, eth1]
  register-self: yes
  forget-after: 0
discovery:
  consul-addr: localhost:8500
  tags: a, b
  datacenter:
    - dc1
  watch-interval: 15s
"""


@contextmanager
def _silent_about_secrets() -> Iterator[None]:
    """Asserts that a refusal does not repeat the password of the file."""
    try:
        yield
    except Invalid as refusal:
        said = str(refusal)
        if SECRET in said:
            msg = "the password is repeated"
            raise AssertionError(msg) from refusal
        raise


def _configured(data: bytes) -> tuple[Settings, NetworkConfig]:
    with tempfile.TemporaryDirectory(prefix="k3-fuzz-") as folder:
        path = Path(folder) / "k3.yaml"
        path.write_bytes(data)
        with _silent_about_secrets():
            found = load(Flags(config=str(path)), PLACE, reading=True)
            config = network_config(NO_FLAGS, found, {})
            discovery_options(NO_FLAGS, found, {"NODE_NAME": "web1"})
    return found, config


def _check_configured(found: tuple[Settings, NetworkConfig]) -> None:
    settings, config = found
    assert SECRET not in repr(settings.storage)
    assert SECRET not in settings.storage.url
    assert settings.log.level in {"debug", "info", "warning", "error"}
    assert settings.log.format in {"text", "json"}
    assert 2 <= config.peer_ttl_seconds <= 87_600 * 3_600
    assert 0 <= config.listen.port <= limits.PORT


@st.composite
def _files(draw: st.DrawFn) -> bytes:
    """Gives configuration files of which some lines are odd."""
    lines = CONFIG.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        key, colon, _ = lines[at].partition(":")
        odd = draw(st.sampled_from(_ODD) | st.text(max_size=10))
        new = [[f"{key}{colon} {odd}"], [], [lines[at]] * 2, [f"\t{lines[at]}"], [f"  {lines[at]}"], [f"{odd}: 1"], [odd]]
        lines[at : at + 1] = draw(st.sampled_from(new))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


_ODD: Final = (
    *("", "~", "[]", "{}", "[1, 2]", "{a: b}", "&x [*x]", "*nowhere", "!!python/object:os.system x", "!!binary a", "!x y"),
    *("1e999", ".nan", "0x10", "1_000", "12:30", "2026-11-27", "yes", "'", '"', "|", "- a", "<<: *x", "? a", "---", "%YAML 9"),
    *("9" * 5_000, "~nobody-such/k3.db", "a\\0b", '"a\\0b"', "/", "1s" + "1" * 3_000, "[" * 300, "\x07", "@", "`", "a: b: c"),
    *("&a [1,1]", "2026-99-99", "!!int x", "!!float .", "!!timestamp x", "!!set {a}", "\ufeff", "\x85"),
)


# --- values ------------------------------------------------------------------------------------------------------------


def _duration(data: bytes) -> float:
    text = text_of(data)
    try:
        return parsing.duration(text, "--peer-ttl")
    except ConfigInvalid as refusal:
        _, _, meant = str(refusal).partition("; did you mean ")
        if meant:
            assert parsing.duration(meant.removesuffix("?"), "--peer-ttl") >= 0, "what is advised is taken"
        raise


def _check_duration(seconds: float) -> None:
    assert 0 <= seconds <= 87_600 * 3_600
    written = times.duration(seconds)
    again = parsing.duration(written, "--peer-ttl")
    assert abs(again - seconds) <= 0.001
    assert times.duration(again) == written, "a normal form"


def _stored_duration(data: bytes) -> float:
    """Reads a duration as Nodes and peers have it."""
    return times.seconds(data.decode("utf-8", "replace"))


def _check_stored_duration(seconds: float) -> None:
    assert 0 <= seconds < float("inf")
    if 0.001 <= seconds < 1e9:
        assert abs(times.seconds(times.duration(seconds)) - seconds) <= 0.001


def _listen(data: bytes) -> Listen:
    text = text_of(data)
    try:
        return Listen.parse(text)
    except ConfigInvalid as refusal:
        _, _, meant = str(refusal).partition("; did you mean ")
        if meant:
            Listen.parse(meant.removesuffix("?"))  # what is advised is taken
        raise


def _check_listen(found: Listen) -> None:
    assert 0 <= found.port <= limits.PORT
    assert Listen.parse(str(found)) == found, "a normal form"


def _store_url(data: bytes) -> Storage:
    found = read_url(text_of(data), "--store")
    return backends.load(found.type).storage(found.settings, default_path=Path("/x"), where="--store")


def _check_store_url(found: Storage) -> None:
    read = read_url(found.url, "--store")
    again = backends.load(read.type).storage(read.settings, default_path=Path("/x"), where="--store")
    assert again.url == found.url, "a normal form"
    assert not again.has_password
    assert type(again) is type(found)


def _service_type(data: bytes) -> ServiceType:
    return ServiceType.parse(text_of(data), "local.")


def _check_service_type(found: ServiceType) -> None:
    name = found.text.removesuffix(".local.")
    assert ServiceType.parse(name, "local") == found, "a normal form"
    assert found.text.isascii()
    assert len(name.partition(".")[0]) <= 16


def _valid_name(data: bytes) -> str:
    text = text_of(data)
    if not node.valid_name(text):
        _, _, meant = expected_name(text).partition("; did you mean ")
        assert not meant or node.valid_name(meant.removesuffix("?"))
        raise Invalid
    return text


def _check_valid_name(name: str) -> None:
    assert name.isascii()
    assert name == name.lower()
    assert 0 < len(name) <= limits.NAME_BYTES
    assert all(len(label) > 0 for label in name.split("."))


def _moment(data: bytes) -> datetime | None:
    return times.parse_timestamp(data.decode("utf-8", "surrogatepass"))


def _moment_text(data: bytes) -> datetime | None:
    try:
        return _moment(data)
    except UnicodeDecodeError:
        return None


def _check_moment(found: datetime | None) -> None:
    if found is not None:
        at = times.parse_timestamp(times.precise_timestamp(found))
        assert at is not None
        assert times.precise_timestamp(at) == times.precise_timestamp(found), "a normal form"
        assert times.parse_timestamp(times.timestamp(at)) is not None


PARSERS: Final = (
    Parser(
        name="config",
        read=_configured,
        inputs=_files() | _files().flatmap(making.bent) | st.binary(max_size=40),
        check=_check_configured,
    ),
    Parser(
        name="duration",
        read=_duration,
        inputs=making.texts(
            "90s", "1m30s", "1.5h", "0", "5", "2 days", "-1s", "\u00b5s", ".5m", alphabet="0159.smhund \u0661-"
        ),
        check=_check_duration,
    ),
    Parser(
        name="stored-duration",
        read=_stored_duration,
        inputs=making.texts("90s", "1m30s", "1.5h", "99999999999999h", alphabet="0159.smhund "),
        check=_check_stored_duration,
        refuses=(),
    ),
    Parser(
        name="listen",
        read=_listen,
        inputs=making.texts(
            *(":7946", "10.0.0.1:0", "[::1]:7946", "[fe80::1%eth0]:1", "localhost:80", "7946", "http://a:1/", "fd00::1"),
            alphabet="[]:%0159.af/ ",
        ),
        check=_check_listen,
    ),
    Parser(
        name="store-url",
        read=_store_url,
        inputs=making.texts(
            "sqlite:///tmp/k3.db",
            "mysql://u:p@h:1/d?ssl_mode=required",
            "mysql://[fd00::1]:3306/a%2fb",
            "etcd://u:p@a:1,b/p/q?compact=false",
            "etcd://[::1]",
            "memory://",
            "postgres://x",
            alphabet="/:@[]?&=%,.\0ab0 ",
        ),
        check=_check_store_url,
    ),
    Parser(
        name="service-type",
        read=_service_type,
        inputs=making.texts("_k3._tcp", "_K3._UDP.", "_a-b._tcp", "_\u212a3._tcp", alphabet="_-.k3tcpudA"),
        check=_check_service_type,
    ),
    Parser(
        name="name",
        read=_valid_name,
        inputs=making.texts("web1", "a.b-c", "Web_1", "a" * 254, "-a", "a.", alphabet="ab0.-_A\u212a"),
        check=_check_valid_name,
    ),
    Parser(
        name="time",
        read=_moment_text,
        inputs=making.texts(
            "2026-11-27T01:02:03Z",
            "2026-11-27T01:02:03.456+01:00",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.999999-23:59",
            "2026-W48-5",
            "20261127T010203,5",
            "2026-11-27T24:00:00Z",
            alphabet="0129-:TZ.+W,",
        ),
        check=_check_moment,
        refuses=(),
    ),
)
