"""Requests that are still answered otherwise than by a kube-apiserver, and should not be.

`python -m tests.server.beside.unsettled` counts them anew.
"""

import json
from pathlib import Path
from typing import Final

from tests.server.beside.comparing import compared
from tests.server.beside.not_served import NOT_SERVED
from tests.server.beside.own import own_answers
from tests.server.beside.recording import recorded
from tests.server.beside.scenes import ALL

FILE: Final = Path(__file__).parent / "unsettled.json"


def unsettled() -> frozenset[tuple[str, int]]:
    """Returns the requests, by scene and number."""
    return frozenset((name, number) for name, numbers in json.loads(FILE.read_text()).items() for number in numbers)


def count() -> dict[str, list[int]]:
    """Returns the requests that are answered otherwise now."""
    scenes = [each for scenes in ALL.values() for each in scenes]
    own, real = own_answers(scenes), recorded()
    found: dict[str, list[int]] = {}
    for each in scenes:
        pairs = zip(compared(own[each.name]), real[each.name], strict=True)
        numbers = [at for at, (one, other) in enumerate(pairs) if one != other and (each.name, at) not in NOT_SERVED]
        if numbers:
            found[each.name] = numbers
    return found


if __name__ == "__main__":
    lines = (f"{json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in count().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
