"""Numbers that are kept as they were written: fractions, and whole numbers that may have more than 64 bits. Pure.

No field of a served kind takes one. But a quantity may be written as a number (`1.5`), a refusal names the number as it was
written, and a field that is not known may hold any.
"""

import math
from typing import Any


class Number(str):
    """The text of a number."""

    __slots__ = ()


def whole(text: str) -> int | Number:
    """Parses a whole number of JSON; one of more than 64 bits stays a text, so that its length costs nothing."""
    if len(text) > 20:  # noqa: PLR2004 - the digits of 2^64, or of -2^63 with its sign
        return Number(text)
    number = int(text)
    return number if -(2**63) <= number < 2**63 else Number(text)


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Returns JSON whose numbers are numbers; raises ValueError for one that a document may not have."""
    kind = type(value)
    if kind is Number:
        if len(value) > 40:  # noqa: PLR2004 - more digits than a float of 64 bits tells apart
            msg = f"the number {value[:20]} is too long"
            raise ValueError(msg)
        number = float(value)
        if not math.isfinite(number):
            msg = f"the number {value[:20]} is too large"
            raise ValueError(msg)
        return number
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if kind is list else value
