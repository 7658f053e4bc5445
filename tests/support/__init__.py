"""
What tests of several subjects share.

    waiting       until a fact comes true; whether a process is gone
    tasks         the same under asyncio: turns of the loop, cancellations
    servers       engines that are opened, paused, given a port; clients that don't wait
    windows       how many admissions a window holds
    attacking     what the tests of every guard's properties assert
    planting      whether a check fails, as it should where a fault was planted
"""
