"""A machine joins."""

import pytest

from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_try(fleet: MakeFleet) -> None:
    fleet("a", "b", "c")
