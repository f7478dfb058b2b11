"""The Kubernetes API over a store: what kubectl and every other Kubernetes client see of the machines (ADR 49)."""
