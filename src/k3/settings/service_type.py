"""`--service` and `--domain`: parsed once into the name that is announced and browsed for."""

import re
from typing import Final, Self

from k3.core.records import dataclass
from k3.settings.parsing import bad_value

DOMAIN: Final = "local."
_SERVICE: Final = re.compile(r"_(?=[a-z0-9-]*[a-z])[a-z0-9](?:-?[a-z0-9])*\._(?:tcp|udp)")
_SERVICE_FLAG: Final = "--service"
_DOMAIN_FLAG: Final = "--domain"
_LABEL_BYTES: Final = 16
"""The longest service name, with its underscore (RFC 6335 §5.1)."""


@dataclass(frozen=True, slots=True)
class ServiceType:
    """What is announced and browsed for, for instance `_k3._tcp.local.` (the dot belongs to it)."""

    text: str = "_k3._tcp.local."

    @classmethod
    def parse(cls, service: str, domain: str) -> Self:
        """Parses `--service` and `--domain`. Raises ConfigInvalid (RFC 6335 §5.1, RFC 6763 §7, RFC 6762 §3)."""
        name = service.lower().removesuffix(".")
        if _SERVICE.fullmatch(name) is None or len(name.partition(".")[0]) > _LABEL_BYTES:
            raise bad_value(_SERVICE_FLAG, service, "like _k3._tcp (RFC 6763 section 7)")
        if domain.lower() not in {DOMAIN, DOMAIN.removesuffix(".")}:
            raise bad_value(_DOMAIN_FLAG, domain, "local., the only domain that mDNS has (RFC 6762)")
        return cls(f"{name}.{DOMAIN}")

    def full_name(self, instance: str) -> str:
        """Returns the full name of an instance's records."""
        return f"{instance}.{self.text}"
