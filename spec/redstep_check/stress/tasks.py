"""Tasks: callers in one event loop, in two groups, each of which shares its clients. Kills cut connections."""

import asyncio

from redstep_check.engines import Engine
from redstep_check.stress.callers import Caller
from redstep_check.stress.counting import counter
from redstep_check.stress.slices import CUT_EVERY_S, GROUPS, PATIENCE_S, ClientDied, Slice, cutter


def run(piece: Slice, engine: Engine) -> int:
    """Run a slice; return how many times something was cut. Raises ClientDied, and what a caller failed with."""
    return asyncio.run(_run(piece.begun(), engine))


async def _run(piece: Slice, engine: Engine) -> int:
    plan, log, tick = piece.plan, piece.log("tasks"), counter()
    groups = [plan.clients(piece.guard, f"g{number}", tick, log, is_async=True) for number in range(1, GROUPS + 1)]
    callers = [
        Caller(piece.guard, groups[number % GROUPS], plan, f"t{number}", tick, log) for number in range(1, piece.clients + 1)
    ]
    tasks = [asyncio.create_task(each.go_on_async(lambda: piece.is_over)) for each in callers]
    try:
        kills = await _kill(piece, engine)
        await asyncio.wait(tasks, timeout=PATIENCE_S)
    finally:
        late = [each for each in tasks if each.cancel()]
        failed = [each for each in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(each, Exception)]
        for group in groups:
            await group.close()
    if late:
        raise ClientDied(f"a task did not finish its call within {PATIENCE_S} s")
    log.close()
    if failed:
        raise failed[0]
    return kills


async def _kill(piece: Slice, engine: Engine) -> int:
    chance, kills = piece.chance, 0
    with engine.client() as admin:
        cut = cutter(admin, piece.connections, chance)
        while not piece.is_over:
            await asyncio.sleep(piece.pause_s(chance, CUT_EVERY_S))
            if piece.kills and not piece.is_over:
                kills += await asyncio.to_thread(cut)
    return kills
