"""
The idempotency store as it ships: its protocols under a driver that decides what happens, and its clients on real engines.

    test_crashes          ID-3, ID-4     a worker dies at any point: what others see, when, and how often the work runs
    test_late_owners      ID-5, ID-6     who lost the lease changes nothing any more
    test_run              ID-7, ID-11    what becomes of a result, an error, a refusal, a store that fails
    test_cancellation     CM-10          at every wish, sync, and at every turn of the loop, asyncio
    test_duplicates       ID-3           many callers at once, threads and tasks
    test_delivery         CM-4 to CM-6   lost replies, forgotten scripts, clients that retry
    test_corrupt          CM-1, CM-9     what is stored is of another form
    test_responses        ID-10          byte for byte, and around the size limit
    test_scopes           CM-7, ID-9     two scopes never collide
    test_decorators                      the same, around a function
    test_real_time        CM-3, ID-8     on the engines' own clocks
    test_least_privilege  CM-12          a user who may do no more than is needed
    test_planted_run                     a fault in what runs the work fails one of the tests above

A test that takes a `stage` is played twice, with `IdempotencyStore` and with `AsyncIdempotencyStore`.
"""
