"""Speakers for the tests of hostile input."""

from tests.network.speaking import speak

__all__ = ["speak"]
