"""How the server is reached, and by whom: parsed before anything is opened. No I/O."""

from dataclasses import field
from typing import Final, Literal, Self

from k3.core.addresses import is_loopback
from k3.core.records import dataclass
from k3.settings.listen import Listen
from k3.settings.options import Values
from k3.settings.parsing import bad_value, nearest

LoopbackWrites = Literal["owner", "all"]
_WRITERS: Final[tuple[LoopbackWrites, ...]] = ("owner", "all")
_TLS: Final = "--tls"
_KEY: Final = "--tls-key-file"
_WHO: Final = "--loopback-writes"
DEFAULT_LISTEN: Final = Listen("127.0.0.1", 8080)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Where the server listens, with which certificate, and who may write over loopback. Raises ConfigInvalid when made."""

    listen: Listen = field(default=DEFAULT_LISTEN)
    tls: bool = False
    """Over loopback it may be without; then the kernel says whose connection it is. Elsewhere it may not."""
    cert_file: str = ""
    """Empty: a certificate is made, and kept in the state directory."""
    key_file: str = ""
    client_ca_file: str = ""
    """Whose client certificates are believed beside those of the server's own CA."""
    loopback_writes: LoopbackWrites = "owner"
    """Who may write over loopback without TLS: root and the user that runs the server, or everybody on the machine."""

    else_any_port: bool = False
    """Whether any free port will do where the one of `listen` is taken: it is a default that nobody chose."""

    def __post_init__(self) -> None:
        """Refuses what cannot work, and what would let everybody in."""
        if not self.tls and not self.is_loopback:
            expected = "true where --listen is not an address of loopback: without TLS everybody on the way could read tokens"
            raise bad_value(_TLS, "false", expected)
        if not self.tls and (self.cert_file or self.client_ca_file):
            raise bad_value(_TLS, "false", "true with --tls-cert-file or --client-ca-file")
        if self.key_file and not self.cert_file:
            raise bad_value(_KEY, self.key_file, "a certificate beside it: --tls-cert-file FILE")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.listen.host)

    @classmethod
    def parse(cls, said: Values) -> Self:
        """Returns what the options of `settings.options.SERVER` say. Raises ConfigInvalid."""
        with said.naming_the_place():
            writes = said.text("loopback-writes")
            if writes not in _WRITERS:
                raise bad_value(_WHO, writes, f"{' or '.join(_WRITERS)}{nearest(writes, _WRITERS)}")
            listen = Listen.parse(said.text("listen"))
            files = {name: said.text(name) for name in ("tls-cert-file", "tls-key-file", "client-ca-file")}
            needed = not is_loopback(listen.host) or any(files.values())
            return cls(
                listen=listen,
                tls=said.is_true("tls") if said.is_given("tls") else needed,
                cert_file=files["tls-cert-file"],
                key_file=files["tls-key-file"],
                client_ca_file=files["client-ca-file"],
                loopback_writes="all" if writes == "all" else "owner",
            )
