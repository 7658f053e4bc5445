"""
The circuit breaker's clients and protocols, beside what the lockstep machine plays.

    test_calls            CB-12          what a call comes to; wrapper, decorator, block and permit
    test_outcomes         CB-10          which exceptions tell nothing of what is called
    test_interruptions    CB-10, CM-10   a permit is freed wherever a call is interrupted
    test_concurrency      CB-5, CB-11    threads and tasks: no lock is held, no permit counts twice
    test_listeners        CB-9, CB-11    who is told of a transition, when and how often
    test_stored           CM-9, CM-3     what a shared breaker stores, and what it makes of nonsense
    test_delivery         CM-4 to CM-6   at most once; reports that are lost; scripts that were forgotten
    test_least_privilege  CM-12          the commands that a shared breaker needs
    test_refinement       CB-1 to CB-15  the local breaker and the shared one answer alike

A test that takes a `play` is played by all four clients: local and shared, sync and asyncio.
"""
