"""Kubernetes' Quantity: `4`, `500m`, `16Gi`, `1e3`, and its canonical form in a list of resources. Pure.

It is rounded up to a thousandth, held to 64 bits where its suffix is binary, and written with the largest suffix that leaves a
whole number (`resource.Quantity`, and the defaults of core/v1).
"""

import re
from typing import Final

from k3.core import limits
from k3.core.records import dataclass

FORMAT: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SUFFIX: Final = "unable to parse quantity's suffix"

_TEXT: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIXES: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIXES: Final = {exponent // 10: suffix for suffix, exponent in _BINARY.items()} | {0: ""}
_MOST: Final = 2**63 - 1
_SMALLEST: Final = -3
"""Nothing is kept below a thousandth: so Kubernetes rounds every list of resources."""
_FAST_DIGITS: Final = 18
"""What Go's quick way takes: there a text that is nearly canonical (`+5`, `1.Ki`) is kept as it is."""


@dataclass(frozen=True, slots=True)
class _Amount:
    """`digits` times 10 to the power of `exponent`."""

    digits: int
    exponent: int

    def rounded(self) -> "_Amount":
        """Returns the amount with nothing below a thousandth, away from zero."""
        if self.exponent >= _SMALLEST:
            return self
        quotient, rest = divmod(abs(self.digits), 10 ** (_SMALLEST - self.exponent))
        whole = quotient + bool(rest)
        return _Amount(whole if self.digits >= 0 else -whole, _SMALLEST)

    def whole(self) -> int | None:
        """Returns the amount as a whole number, None where it is none."""
        if self.exponent >= 0:
            return self.digits * int(10**self.exponent)
        quotient, rest = divmod(self.digits, 10**-self.exponent)
        return None if rest else quotient


def canonical(text: str) -> str:
    """Returns a quantity in its canonical form. Raises ValueError with the sentence that Kubernetes has."""
    if text == "0":
        return text
    found = _TEXT.fullmatch(text) if 0 < len(text) <= limits.QUANTITY_CHARACTERS else None
    if found is None:
        raise ValueError(FORMAT)
    sign, whole, fraction, suffix = found.groups(default="")
    digits = int((whole + fraction) or "0") * (-1 if sign == "-" else 1)
    if suffix in _BINARY:
        power = _BINARY[suffix]
        if not fraction and digits % 8 and len(whole.lstrip("0")) + power * 3 // 10 < _FAST_DIGITS - 3:
            return text
        return _binary(_Amount(digits * 2**power, -len(fraction)))
    scientific = suffix not in _DECIMAL
    amount = _Amount(digits, (_power(suffix) if scientific else _DECIMAL[suffix]) - len(fraction))
    if _is_kept(whole.lstrip("0") + fraction, amount.exponent):
        return text
    return _decimal(amount.rounded(), scientific=scientific)


def is_negative(text: str) -> bool:
    """Returns whether a canonical quantity is below zero."""
    return text.startswith("-")


def _power(suffix: str) -> int:
    number = suffix[1:]
    if suffix[:1] not in {"e", "E"} or not number.lstrip("+-").isdigit() or abs(int(number)) > limits.QUANTITY_EXPONENT:
        raise ValueError(_SUFFIX)
    return int(number)


def _is_kept(digits: str, exponent: int) -> bool:
    if len(digits) > _FAST_DIGITS or exponent < _SMALLEST:
        return False
    return exponent % 3 == 0 and not digits.endswith("000") and digits[:1] not in {"", "0"}


def _binary(amount: _Amount) -> str:
    amount = amount.rounded()
    number = amount.whole()
    if abs(amount.digits) > _MOST * 10**-amount.exponent:
        number = _MOST if amount.digits > 0 else -_MOST
    if number is None or abs(number) < 1024:  # noqa: PLR2004 - the smallest of them
        return _decimal(amount, scientific=False)
    thousands = 0
    while number % 1024 == 0:
        number, thousands = number // 1024, thousands + 1
    return f"{number}{_BINARY_SUFFIXES[thousands]}"


def _decimal(amount: _Amount, *, scientific: bool) -> str:
    digits, exponent = amount.digits, amount.exponent
    if not digits:
        return "0"
    while digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    digits, exponent = digits * 10 ** (exponent % 3), exponent - exponent % 3
    if scientific:
        return f"{digits}e{exponent}" if exponent else str(digits)
    largest = max(_SUFFIXES)
    if exponent > largest:
        digits, exponent = digits * 10 ** (exponent - largest), largest
    return f"{digits}{_SUFFIXES[exponent]}"
