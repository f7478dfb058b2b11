"""Label selectors: what `kubectl -l` takes, taken in the same way."""

import pytest

from k3.core.errors import Invalid
from k3.view.selector import typed_selector
from tests.cli.conftest import K3, StoreFile

LABELS = {"app": "web", "tier": "front", "empty": "", "example.org/zone": "a-1"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("  ", True),
        ("app=web", True),
        ("app==web", True),
        (" app = web , tier = front ", True),
        ("app=db", False),
        ("app!=db", True),
        ("app!=web", False),
        ("missing!=web", True),
        ("app in (web,db)", True),
        ("app in ( db )", False),
        ("app in(web)", True),
        ("missing in (web)", False),
        ("app notin (db,cache)", True),
        ("app notin (web)", False),
        ("missing notin (web)", True),
        ("app", True),
        ("missing", False),
        ("!app", False),
        ("! missing", True),
        ("empty=", True),
        ("empty", True),
        ("app=", False),
        ("example.org/zone=a-1", True),
        ("app in (web,db),tier!=back,!missing,empty", True),
        ("app in (web,db),tier=back", False),
        ("in", False),
        ("missing>1", False),
    ],
)
def test_selects(text: str, holds: bool) -> None:
    assert typed_selector(text).matches(LABELS) is holds


@pytest.mark.parametrize(
    "text",
    [
        *("=", "a=b,", ",a", "a b", "a=b c", "a in", "a in b", "a in (b", "a in b)", "a in ((b))", "a in (x),,b"),
        *("a=>b", "a>x", "!a=b", "-a", "a/b/c", "a=b!", "a\x00", "a" * 64, "a=" + "b" * 64),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(Invalid, match="bad selector"):
        typed_selector(text)


@pytest.mark.parametrize("flag", ["-l", "--selector"])
def test_an_empty_selector_fits_every_node_and_deletes_none(k3: K3, store: StoreFile, flag: str) -> None:
    assert k3("nodes", "--store", store.url, flag, "", "-o", "name").out == "node/box\nnode/web1\nnode/web2\n"
    result = k3("delete", "--store", store.url, flag, "")
    assert (result.code, result.err.splitlines()[0]) == (2, "k3: an empty selector would delete every Node")
    assert k3("describe", "--store", store.url, flag, "").err.startswith("k3: which node? Write: k3 describe node NAME\n")


def test_a_bad_selector_is_one_line_and_2(k3: K3) -> None:
    result = k3("nodes", "--store", "memory://", "-l", "a=\x1b[31m")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(r'k3: bad selector "a=\x1b[31m": expected terms like app=web')
    assert result.err.count("\n") == 1
