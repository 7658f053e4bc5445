"""
The two drivers before a real engine: what is sent and how often, what an error means, and what an interruption leaves.

    test_delivery         CM-4 to CM-6   nothing is executed twice without anybody's knowledge; scripts that were forgotten
    test_clients          CM-5           any client of redis-py's will do, and is left as it was
    test_refusals         CM-9           what an error means
    test_connections      BP-2, BP-4     none is free; one that has an unread reply
    test_wishes           CM-2           work, listeners, draws and clocks
    test_interruptions    CM-10          an interruption is compensated, and goes on
    test_threads          CM-10          of the sync driver alone
    test_cancellation     CM-10          of the asyncio driver, at every turn of the loop and wherever a protocol waits
    test_finishing        CM-10          what an interruption waits for
    test_tasks            CM-10          of the asyncio driver, among other tasks
    test_planted_faults                  a driver with a fault fails one of the tests above

A test that takes a `stage` is played twice, by the sync driver and by the asyncio one. `stage` is what they share.
"""
