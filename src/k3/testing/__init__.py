"""For authors of backends and of programs on top of k3: suites, faults and clocks.

    store_suite     StoreSuite: the laws of a Store as pytest tests; inherited, and told how to open a store
    store_steps     the steps of such tests, for other tests
    store_machine   StoreMachine: random histories against a plain dict (needs hypothesis)
    policy_suite    PolicySuite: the laws of a source's policy; inherited, and told what the source may say
    faults          FaultyStore: a store that is unavailable when it is told to be
    clock           FakeClock: time that passes when it is told to; FakeLoop: an event loop that runs by it
    leaks           LeakCheck: what a test left open

Each is imported by its own name, so that none costs what it does not use. pytest and hypothesis are imported only here.
"""
