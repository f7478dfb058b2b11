"""Nodes for people and programs: the table, selectors, documents. Reads manifests; opens nothing and prints nothing."""
