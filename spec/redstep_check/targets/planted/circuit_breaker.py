"""Faults for the circuit breakers: each is caught by lockstep under its rule."""

from redstep_check.targets.planted import Fault


def _script(name: str, rule: str, script: str, old: str, new: str) -> Fault:
    return Fault(name=f"shared: {name}", rule=rule, file=f"circuit_breaker_{script}.lua", old=old, new=new, variant="shared")


def _shared(name: str, rule: str, module: str, old: str, new: str) -> Fault:
    return Fault(name=f"shared: {name}", rule=rule, file=f"redstep.{module}", old=old, new=new, variant="shared")


def _local(name: str, rule: str, module: str, old: str, new: str) -> Fault:
    return Fault(name=f"local: {name}", rule=rule, file=f"redstep.{module}", old=old, new=new, variant="local")


FAULTS = (
    _script(
        "no epoch looked at while closed",
        "CB-7",
        "report",
        "if permit_epoch ~= epoch or permit_number ~= 0 then",
        "if permit_number ~= 0 then",
    ),
    _script(
        "no epoch looked at while half-open",
        "CB-7",
        "report",
        "if not place or permit_epoch ~= epoch then",
        "if not place then",
    ),
    _script("a number that is not in flight counted", "CB-7", "report", "if not place or permit_epoch", "if permit_epoch"),
    _script(
        "a failure while open makes it longer",
        "CB-9",
        "report",
        "  if state == 'open' then return",
        "  if state == 'open' and outcome == 'failure' and epoch == permit_epoch + 1 then\n"
        "    pcall('HSET', KEYS[1], 'until_ms', string.format('%.0f', math.max(until_ms, now + open_ms)))\n"
        "  end\n"
        "  if state == 'open' then return",
    ),
    _script(
        "a success does not end the row",
        "CB-2",
        "report",
        "outcome == 'success' and failures == 0 then return",
        "outcome == 'success' then return",
    ),
    _script(
        "a neutral result ends the row",
        "CB-10",
        "report",
        "if outcome == 'neutral' or outcome == 'success' and failures == 0",
        "if outcome ~= 'failure' and failures == 0",
    ),
    _script("one failure too many", "CB-2", "report", "if count >= failure_threshold", "if count > failure_threshold"),
    _script(
        "a neutral probe keeps its place",
        "CB-10",
        "report",
        "  table.remove(probes, place)\n",
        "  if outcome ~= 'neutral' then table.remove(probes, place) end\n",
    ),
    _script(
        "successes kept when it opens again",
        "CB-6",
        "report",
        "0), 'successes', '0', 'next', '0', 'probes', ''}",
        "0), 'successes', left == 'half_open' and '1' or '0', 'next', '0', 'probes', ''}",
    ),
    _script(
        "a probe's failure forgiven",
        "CB-6",
        "report",
        "if outcome == 'failure' or successes >= success_threshold and outcome == 'success' then",
        "if successes >= success_threshold and outcome == 'success' then",
    ),
    _script(
        "an epoch that stays when it closes",
        "CB-1",
        "report",
        "'closed', epoch + 1\n",
        "'closed', epoch + (outcome == 'failure' and 1 or 0)\n",
    ),
    _script(
        "a hash that dies",
        "CM-3",
        "report",
        "local saved\n",
        "local saved\nredis.call('PEXPIRE', KEYS[1], 86400000 + now)\n",
    ),
    _script(
        "jitter drawn again by a refusal",
        "CB-3",
        "acquire",
        "  if until_ms > latest_ms then",
        "  if until_ms > latest_ms or state == 'open' then",
    ),
    _script("deadlines never brought near", "CB-13", "acquire", "  if until_ms > latest_ms then", "  if until_ms < 0 then"),
    _script("one probe too many", "CB-5", "acquire", "successes + #probes < success", "successes + #probes <= success"),
    _script("successes not counted against probes", "CB-5", "acquire", "successes + #probes < success", "#probes < success"),
    _script(
        "open one ms long",
        "CB-4",
        "acquire",
        "if waits and now >= until_ms then",
        "if waits and now >= until_ms + (state == 'open' and 1 or 0) then",
    ),
    _script(
        "open one ms short",
        "CB-4",
        "acquire",
        "if waits and now >= until_ms then",
        "if waits and now >= until_ms - (state == 'open' and 1 or 0) then",
    ),
    _script(
        "silent probes waited for one ms longer",
        "CB-8",
        "acquire",
        "if waits and now >= until_ms then",
        "if waits and now >= until_ms + (state == 'open' and 0 or 1) then",
    ),
    _script("silent probes never given up", "CB-8", "acquire", "if waits and now", "if state == 'open' and now"),
    _script("successes kept when probes are given up", "CB-8", "acquire", "'successes', '0', 'next', '2'", "'next', '2'"),
    _script(
        "the first probe's deadline",
        "CB-8",
        "acquire",
        "changes = {'until_ms', ms(now + open_ms), 'next', ms(number + 1)",
        "changes = {'next', ms(number + 1)",
    ),
    _script(
        "a view that moves it",
        "CB-4",
        "view",
        "return {state, epoch, failures",
        "if wait == 0 then redis.call('HSET', KEYS[1], 'until_ms', '0') end\nreturn {state, epoch, failures",
    ),
    _script("opening by hand makes it longer", "CB-9", "intervene", "elseif state ~= 'open' then", "else"),
    _script("a reset that forgets the epoch", "CB-15", "intervene", "string.format('%.0f', epoch + 1)", "'0'"),
    _shared(
        "an acquire sent again",
        "CM-4",
        "circuit_breaker_shared",
        "idempotent=False, finishes=True",
        "idempotent=True, finishes=True",
    ),
    _shared(
        "the least jitter rounded down", "CB-3", "circuit_breaker", "self.open_ms - self.open_ms // 5", "self.open_ms * 4 // 5"
    ),
    _local(
        "no epoch looked at",
        "CB-7",
        "circuit_breaker_transitions",
        "if permit.epoch != state.epoch or isinstance",
        "if isinstance",
    ),
    _local(
        "a number that is not in flight counted",
        "CB-7",
        "circuit_breaker_transitions",
        "permit.number in state.probes",
        "permit.number < state.next_number",
    ),
    _local(
        "a success does not end the row",
        "CB-2",
        "circuit_breaker_transitions",
        "return Closed(epoch) if failures else state",
        "return state",
    ),
    _local(
        "a neutral probe is a failure",
        "CB-10",
        "circuit_breaker_transitions",
        "case HalfOpen(), Outcome.FAILURE:",
        "case HalfOpen(), Outcome.FAILURE | Outcome.NEUTRAL:",
    ),
    _local(
        "no jitter", "CB-3", "circuit_breaker_transitions", "outcome, now_ms + open_ms)", "outcome, now_ms + policy.open_ms)"
    ),
    _local(
        "open one ms long", "CB-4", "circuit_breaker_transitions", "if now_ms < open_until_ms:", "if now_ms <= open_until_ms:"
    ),
    _local(
        "deadlines of probes never brought near",
        "CB-13",
        "circuit_breaker_transitions",
        "if state.probes and state.deadline_ms > latest_ms",
        "if not state.probes and state.deadline_ms > latest_ms",
    ),
    _local(
        "probes unlimited",
        "CB-5",
        "circuit_breaker_transitions",
        "return bool(state.probes) and state.successes",
        "return not state.probes and state.successes",
    ),
    _local(
        "successes kept when probes are given up",
        "CB-8",
        "circuit_breaker_transitions",
        "HalfOpen(epoch + 1, 0), State.HALF_OPEN",
        "HalfOpen(epoch + 1, 0, successes=state.successes), State.HALF_OPEN",
    ),
    _local(
        "full although nothing is in flight",
        "CB-5",
        "circuit_breaker_transitions",
        "return bool(state.probes) and state.successes",
        "return state.successes",
    ),
    _local(
        "opening by hand makes it longer",
        "CB-9",
        "circuit_breaker_transitions",
        "if isinstance(state, Open) else now_ms + open_ms",
        "if False else now_ms + open_ms",
    ),
    _local(
        "a view that moves it",
        "CB-4",
        "circuit_breaker_local",
        "        return transitions.view(",
        "        self.state, _ = transitions.acquire(self.policy, self.state, now_ms)\n        return transitions.view(",
    ),
    _local(
        "a transition told twice",
        "CB-9",
        "circuit_breaker_protocols",
        "self._waiting.append(transition)",
        "self._waiting.extend([transition] * 2)",
    ),
    _local("names unchecked", "CM-7", "circuit_breaker_protocols", 'return checked_name("name", value)', "return value"),
)
