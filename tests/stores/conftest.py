"""Lets the shipped suites say what differed."""

import pytest

pytest.register_assert_rewrite("k3.testing.store_suite", "k3.testing.store_machine")
