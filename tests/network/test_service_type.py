"""Names on the wire: the service type, and a machine's instance of it."""

import pytest

from k3.core import limits
from k3.core.errors import ConfigInvalid
from k3.network.announce import instance_name
from k3.settings.service_type import ServiceType

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("node", "instance"),
    [
        ("web1", "web1-01234567"),
        ("a.example.org", "a-example-org-01234567"),
        ("n" * 253, "n" * 54 + "-01234567"),
        ("n" * 53 + ".x" * 20, "n" * 53 + "-01234567"),
    ],
)
def test_instance_names_are_one_label(node: str, instance: str) -> None:
    assert instance_name(node, ID) == instance
    assert len(instance_name(node, ID)) <= limits.INSTANCE_BYTES


@pytest.mark.parametrize("service", ["_k3._tcp", "_K3._tcp.", "_a-1._udp"])
@pytest.mark.parametrize("domain", ["local", "local.", "LOCAL."])
def test_service_types(service: str, domain: str) -> None:
    assert ServiceType.parse(service, domain).text == f"{service.lower().rstrip('.')}.local."


@pytest.mark.parametrize(
    "service",
    ["", "k3", "k3._tcp", "_k3", "_k3._sctp", "_12._tcp", "_a--b._tcp", "_-a._tcp", f"_{'a' * 16}._tcp", "_k3._tcp.local"],
)
def test_services_that_are_none(service: str) -> None:
    with pytest.raises(ConfigInvalid, match="--service: bad value"):
        ServiceType.parse(service, "local.")


@pytest.mark.parametrize("domain", ["", "example.com", "local..", "locals"])
def test_domains_that_are_none(domain: str) -> None:
    with pytest.raises(ConfigInvalid, match="--domain: bad value"):
        ServiceType.parse("_k3._tcp", domain)
