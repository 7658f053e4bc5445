"""Threads: callers in two groups, each of which shares its clients. Kills cut connections."""

import threading

from redstep_check.engines import Engine
from redstep_check.stress.callers import Caller
from redstep_check.stress.counting import counter
from redstep_check.stress.slices import CUT_EVERY_S, GROUPS, PATIENCE_S, ClientDied, Slice, cutter


def run(piece: Slice, engine: Engine) -> int:
    """Run a slice; return how many times something was cut. Raises ClientDied, and what a caller failed with."""
    piece = piece.begun()
    plan, log, tick = piece.plan, piece.log("threads"), counter()
    stopped, failed = threading.Event(), list[BaseException]()

    def is_over() -> bool:
        return stopped.is_set() or piece.is_over

    def call(caller: Caller) -> None:
        try:
            caller.go_on(is_over)
        except BaseException as error:  # noqa: BLE001  who waits for the threads raises it
            failed.append(error)
            stopped.set()

    groups = [plan.clients(piece.guard, f"g{number}", tick, log, is_async=False) for number in range(1, GROUPS + 1)]
    callers = [
        Caller(piece.guard, groups[number % GROUPS], plan, f"t{number}", tick, log) for number in range(1, piece.clients + 1)
    ]
    threads = [threading.Thread(target=call, args=(each,), daemon=True) for each in callers]
    try:
        for each in threads:
            each.start()
        kills = _kill(piece, engine, stopped)
    finally:
        stopped.set()
        for each in threads:
            if each.ident is not None:  # it was started, before somebody pressed Ctrl-C
                each.join(PATIENCE_S)
        for group in groups:
            group.close()
    if any(each.is_alive() for each in threads):
        raise ClientDied(f"a thread did not finish its call within {PATIENCE_S} s")
    log.close()
    if failed:
        raise failed[0]
    return kills


def _kill(piece: Slice, engine: Engine, stopped: threading.Event) -> int:
    chance, kills = piece.chance, 0
    with engine.client() as admin:
        cut = cutter(admin, piece.connections, chance)
        while not stopped.wait(piece.pause_s(chance, CUT_EVERY_S)) and not piece.is_over:
            if piece.kills:
                kills += cut()
    return kills
