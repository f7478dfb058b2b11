"""`k3 doctor`: what keeps this machine from finding others, or from being found, and the command that mends it.

Nothing is changed by a look, except that one Lease is made in the store and deleted again, as `k3 store check` does. Read
`finding` first (what is said), then `examination` (what is done, and for how long), then one module for each kind of check.
"""
