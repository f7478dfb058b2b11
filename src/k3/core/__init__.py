"""The heart of k3: what a machine is, what may be said of it, and what gets written.

Nothing here performs I/O, reads a clock or knows asyncio's loop. Read in this order: `errors`, `limits`, `documents`,
`objects`, `store`, `sources`, `observation`, `times`, `addresses`, `node`, `ownership`, `decision`, `freshness`.
"""
