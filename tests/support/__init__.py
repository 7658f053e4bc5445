"""
What tests of several subjects share.

    waiting       until a fact comes true; processes that are gone
    tasks         the same under asyncio: turns of the loop, cancellations
    servers       what a server is brought to: paused, or listening on a port
    windows       how many admissions a window holds
"""
