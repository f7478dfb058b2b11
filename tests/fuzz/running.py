"""How long properties are tried: a moment with a fixed seed, or, as `make fuzz` asks, for long with other seeds each time."""

import os
import time
from collections.abc import Callable
from typing import Any, Final

import hypothesis
from hypothesis import strategies as st

EXAMPLES: Final = int(os.environ.get("K3_FUZZ_EXAMPLES", "0"))
"""How many inputs each property gets; 0: the few of `make check`."""
SECONDS: Final = float(os.environ.get("K3_FUZZ_SECONDS", "60"))
"""After this time a property gets no more."""
_FEW: Final = 40
_ROUND: Final = 250
_QUIET: Final = hypothesis.settings(deadline=None, suppress_health_check=tuple(hypothesis.HealthCheck))
"""How fast inputs are made says how busy the machine is, and nothing about k3."""


def tried(inputs: st.SearchStrategy[Any], holds: Callable[[Any], object], *, few: int = _FEW) -> None:
    """Tries a property on inputs; raises its AssertionError with the smallest input for which it does not hold."""
    if not EXAMPLES:
        _try(inputs, holds, hypothesis.settings(_QUIET, max_examples=few, derandomize=True))
        return
    until = time.monotonic() + SECONDS
    for _ in range(max(1, EXAMPLES // _ROUND)):
        _try(inputs, holds, hypothesis.settings(_QUIET, max_examples=_ROUND, database=None))
        if time.monotonic() > until:
            return


def _try(inputs: st.SearchStrategy[Any], holds: Callable[[Any], object], settings: hypothesis.settings) -> None:
    @settings
    @hypothesis.given(inputs)
    def property_(each: Any) -> None:
        holds(each)

    property_()
