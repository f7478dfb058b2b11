"""Lets the shipped suites say what differed."""

import pytest

pytest.register_assert_rewrite(
    "k3.testing._store_handles", "k3.testing._store_reads", "k3.testing._store_writes", "k3.testing.store_machine"
)
