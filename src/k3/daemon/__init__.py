"""The composition root: builds sources, runs them together on one store, stops them in order.

`running` is what any source needs, one of another package too; `network` and `discovery` put k3's own together, and `up` both.
"""
