"""SECURITY.md names, for each attack, what shows that it is held: every test that it names is there."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
PAGE: Final = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
ATTACKERS: Final = (
    "A LAN neighbour",
    "A user of the store",
    "A user of Consul",
    "A local user",
    "An HTTP client",
    "A client of the Kubernetes API",
    "A visitor of the page",
)


def test_every_test_that_is_named_is_there() -> None:
    gone = [path for path, _ in NAMED if not (ROOT / path).exists()]
    assert gone == []
    lacking = [
        f"{path}::{name}"
        for path, name in NAMED
        if name and not re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert lacking == []


def test_every_attacker_has_a_table_and_every_row_a_test() -> None:
    for attacker in ATTACKERS:
        section = PAGE.partition(f"### {attacker}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| tries")]
        assert rows, attacker
        assert [row for row in rows if "`tests/" not in row] == []
