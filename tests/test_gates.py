"""What runs before a commit is what `make check` runs, and a release says its day."""

import re
from pathlib import Path

import yaml

from k3 import __version__

ROOT = Path(__file__).parent.parent


def test_the_commit_hooks_are_the_tools_of_make_check() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None
    tools = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines() if "$(BIN)" in line]
    assert [entry.split()[:2] for entry in entries] == [tool.replace(" --check .", "").split()[:2] for tool in tools]


def test_every_release_has_its_day() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert all(each == "Unreleased" or re.fullmatch(r"\d+\.\d+\.\d+ \(20\d\d-\d\d-\d\d\)", each) for each in headings)
    released = [each.split()[0] for each in headings if each != "Unreleased"]
    assert released[0] == __version__


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python before 3.11.5, Debian 12's too, matches such groups wrongly (cpython#106052). Of single characters it is right."""
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")}
    patterns = {
        path: re.findall(r"re\.(?:compile|match|fullmatch|search|sub)\(.*?\n(?=\S|\n)", text, re.DOTALL)
        for path, text in files.items()
    }
    found = [(path.name, each) for path, texts in patterns.items() for each in texts if re.search(r"\)[*+?]\+|\(\?>", each)]
    assert any(patterns.values())
    assert found == []
