"""Speakers for the tests of the network module."""

from tests.network.speaking import speak

__all__ = ["speak"]
