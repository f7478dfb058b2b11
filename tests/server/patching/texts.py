"""Any JSON at all, and JSON that looks like what patches are made of."""

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(
    ["a", "b", "metadata", "labels", "spec", "status", "conditions", "type", "taints", "finalizers", "~0", "a/b"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["", "a", "b", "Ready", "replace"])
)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)


ANY = st.recursive(SCALARS, _deeper, max_leaves=12)
OBJECTS = st.dictionaries(NAMES, ANY, max_size=4)
