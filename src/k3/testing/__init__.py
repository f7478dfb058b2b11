"""Shipped for whoever writes a backend or a program on top of k3: suites, faults and clocks.

    store_suite     StoreSuite: the laws of a Store as pytest tests; inherit it and say how to open yours
    store_steps     what such tests are made of, for tests of your own
    store_machine   StoreMachine: random histories against a plain dict (needs hypothesis)
    faults          FaultyStore: a store that is unavailable when you say so
    clock           FakeClock: time that passes when you say so; FakeLoop: an event loop that runs by it
    leaks           LeakCheck: what a test left open

Each is imported by its own name, so that none costs what it does not use. pytest and hypothesis are imported only here.
"""
