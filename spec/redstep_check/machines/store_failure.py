"""The machine of a limiter behind a breaker: the store fails as it likes, and time jumps to where the breaker tries again."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from redstep_check.guards.rate_limiter import START_MS
from redstep_check.guards.store_failure import Asked, StoreFailureSession
from redstep_spec import circuit_breaker as cb
from redstep_spec import rate_limiter as rl
from redstep_spec import store_failure as spec
from redstep_spec.store_failure import Store

stores = st.sampled_from(tuple(Store))
USUAL = {each.value for each in Store} - {Store.IS_FULL.value}
"""What any store can be made to do."""


class StoreFailureMachine(RuleBasedStateMachine):
    """Draws calls of one limiter."""

    def __init__(self, begin: Callable[[], StoreFailureSession]) -> None:
        super().__init__()
        self.session = begin()
        self.can = self.session.target.features
        self.store_ms = self.client_ms = START_MS

    @initialize(
        limit=st.integers(1, 3),
        window_ms=st.integers(1, 9),
        failures=st.integers(1, 3),
        successes=st.integers(1, 2),
        policy=st.sampled_from(tuple(spec.OnFailure)),
    )
    def adopt(self, limit: int, window_ms: int, failures: int, successes: int, policy: spec.OnFailure) -> None:
        self.limits = (rl.Limit(limit=limit, window_ms=window_ms),)
        self.breaker = cb.Policy(failure_threshold=failures, success_threshold=successes, open_ms=10)
        self.policy = policy

    @rule(ms=st.integers(1, 9))
    def time_passes(self, ms: int) -> None:
        self.client_ms += ms
        self.store_ms += ms

    @precondition(lambda self: isinstance(self.session.state.breaker, cb.Open))
    @rule(off_ms=st.sampled_from((0, -1)), store=stores)
    def the_breaker_tries_again(self, off_ms: int, store: Store) -> None:
        breaker = self.session.state.breaker
        assert isinstance(breaker, cb.Open)
        self.client_ms = max(self.client_ms, breaker.open_until_ms + off_ms)
        self.acquire(store, 10)

    @rule(store=stores, open_ms=st.integers(8, 12))
    def acquire(self, store: Store, open_ms: int) -> None:
        own = rl.Acquire(name="a", limits=self.limits, now_ms=self.store_ms)
        call = spec.GuardedAcquire(own=own, policy=self.policy, breaker=self.breaker, client_ms=self.client_ms, open_ms=open_ms)
        self.session.play(Asked(call, store if store.value in {*self.can, *USUAL} else Store.FAILS))

    @rule(store=st.sampled_from((Store.FAILS, Store.LOSES_THE_REPLY)), count=st.integers(2, 3))
    def the_store_fails_again_and_again(self, store: Store, count: int) -> None:
        for _ in range(count):
            self.acquire(store, 10)

    @rule(count=st.integers(2, 4))
    def the_store_answers_again_and_again(self, count: int) -> None:
        for _ in range(count):
            self.acquire(Store.ANSWERS, 10)
