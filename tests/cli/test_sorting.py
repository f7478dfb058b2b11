"""`--sort-by`: by a column, by a path as kubectl takes it, numbers as numbers, and what lacks the value last."""

import pytest

from k3.cli.usage import BadUsage
from tests.cli.conftest import K3, StoreFile, node


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory) -> StoreFile:
    """web10 (the oldest), web2, web1 (the youngest); the one seen last is web2."""
    file = StoreFile(tmp_path_factory.mktemp("sorting") / "k3.db")
    for name, seen_ago, address, rank in (("web10", 30, "10.0.0.9", "3"), ("web2", 1, "10.0.0.10", "20"), ("web1", 60, "", "")):
        manifest = node(name, seen_ago=seen_ago, labels={"example.org/rank": rank} if rank else {})
        manifest["metadata"]["creationTimestamp"] = f"2026-11-2{ {'web10': 1, 'web2': 2, 'web1': 3}[name] }T08:00:00Z"
        manifest["status"]["addresses"] = [{"type": "InternalIP", "address": address}] if address else []
        manifest["status"]["capacity"] = {"cpu": int(rank)} if rank else {}
        file.put(name, manifest)
    return file


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", "web1 web2 web10"),
        (".metadata.name", "web1 web2 web10"),
        ("{.metadata.name}", "web1 web2 web10"),
        ("metadata.name", "web1 web2 web10"),
        ("last-seen", "web2 web10 web1"),
        ("LAST SEEN", "web2 web10 web1"),
        ("internal-ip", "web10 web2 web1"),
        (".status.addresses[0].address", "web10 web2 web1"),
        (r".metadata.labels.example\.org/rank", "web10 web2 web1"),
        (".metadata.labels['example.org/rank']", "web10 web2 web1"),
        (".status.capacity.cpu", "web10 web2 web1"),
        (".status.nothing.there", "web1 web10 web2"),
    ],
)
def test_order(k3: K3, fleet: StoreFile, order: str, names: str) -> None:
    shown = k3("nodes", "--store", fleet.url, "--sort-by", order, "-o", "name").out.split()
    assert shown == [f"node/{name}" for name in names.split()]


def test_age_is_the_youngest_first_and_creation_the_oldest(k3: K3, fleet: StoreFile) -> None:
    by_age = k3("nodes", "--store", fleet.url, "--sort-by", "age", "-o", "json").out
    by_creation = k3("nodes", "--store", fleet.url, "--sort-by", ".metadata.creationTimestamp", "-o", "json").out
    stamps = [[line for line in text.splitlines() if "creationTimestamp" in line] for text in (by_age, by_creation)]
    assert stamps[0] == sorted(stamps[0], reverse=True)
    assert stamps[1] == sorted(stamps[1])


@pytest.mark.parametrize(
    "order",
    ["nmae", "{.metadata.name", ".metadata.name}", "{{.metadata.name}}", ".", ".a[", ".a[?(@.b==1)].c", "", "..", ".a]"],
)
def test_what_is_neither_is_refused(k3: K3, fleet: StoreFile, order: str) -> None:
    result = k3("nodes", "--store", fleet.url, "--sort-by", order)
    assert result.code == BadUsage.exit_code
    assert result.err.startswith(f'k3: --sort-by: there is no column "{order}", expected a column (name, status, ')


def test_the_nearest_column_is_named(k3: K3) -> None:
    assert 'did you mean "name"?' in k3("nodes", "--sort-by", "nmae").err
