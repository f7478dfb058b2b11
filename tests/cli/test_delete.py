"""`k3 delete node NAME`."""

import pytest

from tests.cli.conftest import K3, StoreFile


def test_deletes_and_says_that_a_live_machine_returns(k3: K3, store: StoreFile) -> None:
    result = k3("delete", "node", "web1", "--store", store.url)
    assert result.code == 0
    assert result.out == f'node "web1" deleted from {store.url}\n'
    assert "returns at its next probe, with a new uid" in result.err
    assert store.names() == ["box", "web2"]


def test_a_controllers_node_is_announced_as_such(k3: K3, store: StoreFile) -> None:
    assert "whoever reported it may report it again" in k3("delete", "node", "box", "--store", store.url).err


def test_missing_node_ends_with_3(k3: K3, store: StoreFile) -> None:
    result = k3("delete", "node", "nobody", "--store", store.url)
    assert (result.code, result.out) == (3, "")
    assert result.err == f'k3: node "nobody" not found in {store.url}\n'
    assert store.names() == ["box", "web1", "web2"]


@pytest.mark.parametrize("arguments", [(), ("node",), ("pod", "x"), ("node", "a", "b")])
def test_anything_else_is_refused(k3: K3, arguments: tuple[str, ...]) -> None:
    result = k3("delete", *arguments)
    assert result.code == 2
    assert result.err.splitlines()[1] == 'Run "k3 delete --help" for the flags.'
