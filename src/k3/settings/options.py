"""What `k3 network`, `k3 discovery` and `k3 server` can be told. One row is a flag on the command line and a key in the file.

    --peer-ttl 5s        network: {peer-ttl: 5s}

Flag > environment > file > default. A value is text wherever it was said, is read by one parser, and an error about it
names the place. No I/O.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.settings import parsing
from k3.settings.structs import Given


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `words` are texts with commas between; a `list` is a flag that may be repeated."""

    name: str
    metavar: str
    help: str
    default: str = ""
    kind: Literal["text", "switch", "list", "words"] = "text"
    environ: str = ""


MACHINE: Final = (
    Option(name="node-name", metavar="NAME", help="its name (NODE_NAME, else the host name)", environ="NODE_NAME"),
    Option(name="register-self", metavar="BOOL", help="be a Node too (true)", default="true", kind="switch"),
    Option(name="store-wait", metavar="TIME", help="wait at the start for a store to answer (60s; 0: not)", default="60s"),
)
"""The options of both modules: the name of the machine, whether it is a Node too, how it starts."""

NETWORK: Final = (
    Option(name="listen", metavar="ADDR", help="health server, and the port announced (:7946)", default=":7946"),
    Option(name="service", metavar="NAME", help="mDNS service (_k3._tcp)", default="_k3._tcp"),
    Option(name="domain", metavar="NAME", help="mDNS domain (local.)", default="local."),
    Option(name="peer-ttl", metavar="TIME", help="silence after which a peer is NotReady (90s)", default="90s"),
    Option(name="interface", metavar="NAME", help="only this one; may be repeated", kind="list"),
    Option(name="forget-after", metavar="TIME", help="remove Nodes that long not Ready (0: never)", default="0"),
)

DISCOVERY: Final = (
    Option(name="consul-addr", metavar="ADDR", help="localhost:8500 (CONSUL_HTTP_ADDR)", environ="CONSUL_HTTP_ADDR"),
    Option(name="consul-token", metavar="TOKEN", help="better in CONSUL_HTTP_TOKEN or its _FILE"),
    Option(name="service-name", metavar="NAME", help="service in Consul (k3-node)", default="k3-node"),
    Option(name="service-id", metavar="ID", help="its ID (service-name-node-name)"),
    Option(name="service-address", metavar="IP", help="where we are reached (the route to Consul's)"),
    Option(name="tags", metavar="A,B", help="tags of the service", kind="words"),
    Option(name="datacenter", metavar="NAME", help="only this one; may be repeated", kind="list"),
    Option(name="watch-interval", metavar="TIME", help="compare with the store at least so often (15s)", default="15s"),
    Option(name="health-check-interval", metavar="TIME", help="how often Consul asks us (10s)", default="10s"),
    Option(name="health-check-timeout", metavar="TIME", help="how long Consul waits for us (3s)", default="3s"),
    Option(
        name="deregister-after",
        metavar="TIME",
        help="out of Consul after being critical so long (30s, acts as 1m)",
        default="30s",
    ),
    Option(
        name="controller-heartbeat",
        metavar="BOOL",
        help="tell controllers' Nodes that their machine is alive (true)",
        default="true",
        kind="switch",
    ),
)

SERVER: Final = (
    Option(
        name="listen",
        metavar="ADDR",
        help="where the API is served (127.0.0.1:8080)",
        default="127.0.0.1:8080",
        environ="K3_SERVER_LISTEN",
    ),
    Option(name="tls", metavar="BOOL", help="serve HTTPS (true, but for loopback)", kind="switch"),
    Option(
        name="tls-cert-file",
        metavar="FILE",
        help="the server's certificate and its chain, in PEM (made in the state directory)",
        environ="K3_TLS_CERT_FILE",
    ),
    Option(name="tls-key-file", metavar="FILE", help="its key, if it is not in the same file", environ="K3_TLS_KEY_FILE"),
    Option(
        name="client-ca-file",
        metavar="FILE",
        help="authorities whose client certificates are users (the server's own)",
        environ="K3_CLIENT_CA_FILE",
    ),
    Option(
        name="loopback-writes",
        metavar="WHO",
        help="who may write over loopback without TLS: owner (root and who runs k3) or all",
        default="owner",
    ),
)
"""The options of `k3 server`: where it is reached, and by whom."""

SERVICE_PORT: Final = Option(
    name="service-port", metavar="PORT", help="health server, and the port registered (7946)", default="7946"
)
"""An option of `k3 discovery` alone: with `k3 up`, --listen is the one port for both."""

SECTIONS: Final[Mapping[str, Sequence[Option]]] = {
    "network": (*NETWORK, *MACHINE),
    "discovery": (*DISCOVERY, SERVICE_PORT, *MACHINE),
    "server": SERVER,
}


def read_section(section: object, name: str, file: str) -> dict[str, Given]:
    """Returns a section of the file, its values as they are written. Raises ConfigInvalid for an unknown key."""
    options = {option.name: option for option in SECTIONS[name]}
    found: dict[str, Given] = {}
    raw = parsing.mapping(section, f"{file}: {name}")
    for key, value in raw.items():
        where = raw.name_of(key)
        if key not in options:
            raise ConfigInvalid(parsing.unknown_key(where, key, options))
        if value is not None:
            found[key] = Given(_texts(options[key], value, where), where)
    return found


def _texts(option: Option, value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    takes_several = option.kind in {"list", "words"}
    if not takes_several or not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        msg = f"{where}: expected {'a value or a list of values' if takes_several else 'one value'}"
        raise ConfigInvalid(msg)
    return (",".join(value),) if option.kind == "words" else tuple(value)


class Values:
    """What a module was told. Each method names an option; `where` is the place that an error is to name."""

    def __init__(
        self,
        options: Sequence[Option],
        *,
        flags: Mapping[str, Sequence[str]],
        environ: Mapping[str, str],
        section: Mapping[str, Given],
    ) -> None:
        self._defaults = {option.name: option.default for option in options}
        self._given: dict[str, Given] = {}
        for option in options:
            if option.name in flags:
                self._given[option.name] = Given(tuple(flags[option.name]), f"--{option.name}")
            elif option.environ and environ.get(option.environ):
                self._given[option.name] = Given((environ[option.environ],), option.environ)
            elif option.name in section:
                self._given[option.name] = section[option.name]
        self._section = section

    def is_given(self, name: str) -> bool:
        """Whether it was said anywhere, even if empty (`--node-name ""`)."""
        return name in self._given

    def is_from_file(self, name: str) -> bool:
        """Whether the file said it."""
        return name in self._given and self._given[name] is self._section.get(name)

    def where(self, name: str) -> str:
        """Returns where it was said: `--peer-ttl`, `NODE_NAME` or `k3.yaml:3: network.peer-ttl`."""
        return self._given[name].where if name in self._given else f"--{name}"

    def text(self, name: str) -> str:
        """Returns its text, or the default."""
        return self._given[name].texts[-1] if name in self._given else self._defaults[name]

    def texts(self, name: str) -> tuple[str, ...]:
        """Returns the texts of a list, each once."""
        return tuple(dict.fromkeys(self._given[name].texts)) if name in self._given else ()

    def words(self, name: str) -> tuple[str, ...]:
        """Returns the texts between commas, each once."""
        return tuple(dict.fromkeys(word.strip() for word in self.text(name).split(",") if word.strip()))

    def seconds(self, name: str) -> float:
        """Returns its duration in seconds. Raises ConfigInvalid."""
        return parsing.duration(self.text(name), self.where(name))

    def is_true(self, name: str) -> bool:
        """Returns whether it is on. Raises ConfigInvalid."""
        return parsing.boolean(self.text(name), self.where(name))

    @contextmanager
    def naming_the_place(self) -> Iterator[None]:
        """Has an error begin with the place where it was said, instead of the flag's name."""
        try:
            yield
        except ConfigInvalid as error:
            flag, colon, rest = str(error).partition(": ")
            name = flag.removeprefix("--")
            if not colon or name not in self._given or self.where(name) == flag:
                raise
            msg = f"{self.where(name)}: {rest}"
            raise ConfigInvalid(msg) from None
