"""The rules of who goes by a name are said twice, for the agent and for people; both say the same."""

import re
from pathlib import Path
from typing import Final

from k3.network.naming import WHO_KEEPS, Act, Claim, Moment

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "network.md"
CLAIMS: Final = {
    "nothing speaks for it": Claim.NONE,
    "it answers under the name": Claim.ANSWERS,
    "its agent wrote the Node here, and it lives": Claim.HOLDS,
}
MOMENTS: Final = {
    "not announced itself yet": Moment.START,
    "announced itself": Moment.ANNOUNCED,
    "been on its list": Moment.JOINED,
}


def rows() -> dict[tuple[Moment, Claim], tuple[Act, Act]]:
    text = PAGE.read_text(encoding="utf-8").partition("### Who is who")[2].partition("\n## ")[0]
    cells = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("| ")]
    return {(MOMENTS[when], CLAIMS[claim]): (Act(host), Act(chosen)) for claim, when, host, chosen in cells[1:]}


def test_the_page_has_every_case_and_says_what_is_done() -> None:
    assert rows() == {
        (moment, claim): (acts.host, acts.chosen) for moment, claims in WHO_KEEPS.items() for claim, acts in claims.items()
    }


def test_no_claim_moves_an_agent_that_has_announced_itself() -> None:
    for moment in (Moment.ANNOUNCED, Moment.JOINED):
        for claim in (Claim.NONE, Claim.ANSWERS):
            assert {WHO_KEEPS[moment][claim].host, WHO_KEEPS[moment][claim].chosen} == {Act.KEEP}


def test_an_agent_ends_at_its_start_only() -> None:
    ends = {Act.END, Act.END_ONCE}
    assert not ends & {each for acts in WHO_KEEPS[Moment.JOINED].values() for each in (acts.host, acts.chosen)}


def test_only_what_the_store_proves_stops_a_machine_for_good() -> None:
    final = {claim for claims in WHO_KEEPS.values() for claim, acts in claims.items() if acts.chosen is Act.END}
    assert final == {Claim.HOLDS}
