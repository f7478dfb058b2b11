"""`k3 delete node NAME…` and `-l`: what goes, what stays, and what is said."""

import pytest

from tests.cli.conftest import K3, StoreFile


def test_deletes_and_says_that_a_live_machine_returns(k3: K3, store: StoreFile) -> None:
    result = k3("delete", "node", "web1", "--store", store.url)
    assert result.code == 0
    assert result.out == f'node "web1" deleted from {store.url}\n'
    assert "returns at its next probe, with a new uid" in result.err
    assert store.names() == ["box", "web2"]


@pytest.mark.parametrize(
    "words",
    [("node", "web1", "web2"), ("node/web1", "nodes/web2"), ("no", "web1", "node/web2", "web1"), ("nodes", "-l", "tier")],
)
def test_several_at_once_however_they_are_named(k3: K3, store: StoreFile, words: tuple[str, ...]) -> None:
    result = k3("delete", *words, "--store", store.url)
    assert result.code == 0
    assert result.out.splitlines() == [f'node "{name}" deleted from {store.url}' for name in ("web1", "web2")]
    assert result.err.count("\n") == 1
    assert store.names() == ["box"]


def test_takes_what_nodes_prints(k3: K3, store: StoreFile) -> None:
    names = k3("nodes", "--store", store.url, "-o", "name").out.split()
    assert k3("nodes", *names, "--store", store.url, "-o", "name").out.split() == names
    assert k3("delete", *names, "--store", store.url).code == 0
    assert store.names() == []


def test_a_selector_alone_will_do(k3: K3, store: StoreFile) -> None:
    assert k3("delete", "-l", "tier!=back,tier", "--store", store.url).code == 0
    assert store.names() == ["box", "web2"]


def test_a_selector_that_fits_nothing_deletes_nothing_and_says_so(k3: K3, store: StoreFile) -> None:
    result = k3("delete", "node", "-l", "tier=none", "--store", store.url)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"No nodes match tier=none in {store.url}.\n"
    assert len(store.names()) == 3


def test_a_controllers_node_is_announced_as_such(k3: K3, store: StoreFile) -> None:
    assert "whoever reported it may report it again" in k3("delete", "node", "box", "--store", store.url).err


def test_missing_node_ends_with_3(k3: K3, store: StoreFile) -> None:
    result = k3("delete", "node", "nobody", "--store", store.url)
    assert (result.code, result.out) == (3, "")
    assert result.err == f'k3: node "nobody" not found in {store.url}\n'
    assert store.names() == ["box", "web1", "web2"]


def test_of_several_those_that_are_there_go(k3: K3, store: StoreFile) -> None:
    result = k3("delete", "node", "nobody", "web1", "--store", store.url)
    assert (result.code, result.out) == (3, f'node "web1" deleted from {store.url}\n')
    assert result.err.splitlines()[-1] == f'k3: node "nobody" not found in {store.url}'
    assert store.names() == ["box", "web2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which node? Write: k3 delete node NAME"),
        (("node",), "which node? Write: k3 delete node NAME"),
        (("web1",), "write: k3 delete node web1"),
        (("web1", "node/web2"), "write: k3 delete node web1"),
        (("pod", "web1"), "write: k3 delete node pod"),
        (("pod/web1",), '"pod/web1" is not a node, expected NAME or node/NAME'),
        (("node", "web1", "-l", "tier"), "give NAMEs or a selector, not both"),
        (("node", "-l", " "), "an empty selector would delete every Node"),
    ],
)
def test_what_is_meant_is_not_guessed(k3: K3, store: StoreFile, words: tuple[str, ...], said: str) -> None:
    result = k3("delete", *words, "--store", store.url)
    assert result.code == 2
    assert result.err.splitlines() == [f"k3: {said}", 'Run "k3 delete --help" for the flags.']
    assert len(store.names()) == 3
