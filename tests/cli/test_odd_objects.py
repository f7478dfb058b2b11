"""One odd object costs its own line: every command shows or does all the rest, names it, and can remove it."""

import json

import pytest

from tests.cli.conftest import K3, Start, StoreFile
from tests.lab import until
from tests.odd import ODD, insert


@pytest.fixture(params=list(ODD.values()), ids=list(ODD))
def why(request: pytest.FixtureRequest, store: StoreFile) -> str:
    """A store with one odd Node beside a good one; what is wrong with the odd one."""
    document, why = request.param
    store.put("good")
    insert(store.path, document, "odd")
    return str(why)


def test_the_table_has_it_and_all_others(k3: K3, store: StoreFile, why: str) -> None:
    done = k3("nodes", "--store", store.url)
    assert done.code == 0
    rows = {line.split()[0]: line.split()[1] for line in done.out.splitlines()[1:]}
    assert (len(rows), rows["good"], rows["odd"]) == (5, "Ready", "Unreadable")
    assert done.err.count("Node odd: this object cannot be read") == 1
    assert why in done.err


@pytest.mark.parametrize("form", ["json", "yaml", "name", "wide"])
def test_every_form_has_both(k3: K3, store: StoreFile, why: str, form: str) -> None:
    done = k3("nodes", "-o", form, "--store", store.url)
    assert done.code == 0
    assert "good" in done.out
    assert "odd" in done.out
    assert done.err.count("Node odd: this object cannot be read") == 1
    assert why in done.err
    if form == "json":
        assert len(json.loads(done.out)["items"]) == 5


def test_a_selector_finds_the_others(k3: K3, store: StoreFile, why: str) -> None:
    done = k3("nodes", "-l", "k3.network/managed=true", "--no-headers", "--store", store.url)
    names = [line.split()[0] for line in done.out.splitlines()]
    assert done.code == 0
    assert "good" in names
    assert "odd" not in names


def test_describe_says_why(k3: K3, store: StoreFile, why: str) -> None:
    done = k3("describe", "node", "odd", "--store", store.url)
    assert done.code == 0
    assert why in done.out
    assert k3("describe", "node", "good", "--store", store.url).code == 0


def test_check_lists_it(k3: K3, store: StoreFile, why: str) -> None:
    done = k3("store", "check", "--store", store.url)
    assert done.code == 1
    assert why in done.out
    assert "k3 delete node odd" in done.out


def test_copy_takes_the_rest(k3: K3, store: StoreFile, why: str) -> None:
    target = store.path.with_name("copy.db")
    done = k3("store", "copy", store.url, f"sqlite://{target}")
    assert done.code == 0, done.err
    assert "nodes: 4 copied and verified" in done.out
    assert "left out, since they cannot be read: 1" in done.out
    assert StoreFile(target).names() == ["box", "good", "web1", "web2"]


def test_delete_removes_it(k3: K3, store: StoreFile, why: str) -> None:
    assert k3("delete", "node", "odd", "--store", store.url).code == 0
    assert "odd" not in store.names()
    assert "good" in store.names()
    assert k3("store", "check", "--store", store.url).code == 0


@pytest.mark.parametrize("document", [ODD["truncated"][0], ODD["very-deep"][0]], ids=["truncated", "very-deep"])
def test_a_watch_goes_on(start: Start, store: StoreFile, document: bytes) -> None:
    store.put("good")
    watching = start("nodes", "-w", "--no-headers", "--store", store.url)
    until(lambda: "good" in watching.text, what=lambda: watching.text)
    insert(store.path, document, "odd")
    until(lambda: any("odd" in line and "Unreadable" in line for line in watching.lines), what=lambda: watching.text)
    store.put("later")
    until(lambda: "later" in watching.text, what=lambda: watching.text)
    assert watching.running
