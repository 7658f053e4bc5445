"""
Foreign implementations under the scheduler: somebody's own code on redis-py, as it is, stopped at every round trip.

    the code ── redis-py ── connection ─┬─ Sent ──▶ the scheduler: now, later, never, lost, cancelled
                                        ◀─ bytes ── the engine's reply, as the wire carries it

What is put in its place is the connection alone, below redis-py: its packing, parsing, retries, pipelines and scripts are the
real ones. A coroutine runs on an event loop of its own (`coroutines`), sync code in a greenlet (`greenlets`); both stop when
they send, and when they sleep. Each time they go on they are begun afresh and told all that they heard so far (`replaying`);
so the code must do the same when it hears the same, and that is checked. Clocks and chance are therefore given
(`surroundings`), and the engine's own are too (`store`). Tasks that share a process's memory are run in every order, and
cancelled wherever they can be, on that same loop (`processes`).
"""
