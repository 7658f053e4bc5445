"""Faults for the rate limiter: each is caught by lockstep under its rule."""

from redstep_check.targets.planted import Fault


def _acquire(name: str, rule: str, old: str, new: str) -> Fault:
    return Fault(name=name, rule=rule, file="rate_limiter_zset_acquire.lua", old=old, new=new, variant="zset")


def _packed(name: str, rule: str, old: str, new: str) -> Fault:
    return Fault(name=name, rule=rule, file="rate_limiter_packed_acquire.lua", old=old, new=new, variant="packed")


def _python(name: str, rule: str, module: str, old: str, new: str) -> Fault:
    return Fault(name=name, rule=rule, file=f"redstep.{module}", old=old, new=new, variant="zset")


FAULTS = (
    _acquire("edge off by one", "RL-1", "'(' .. ms(view.stamp - view.window), '+inf'", "ms(view.stamp - view.window), '+inf'"),
    _acquire("no TTL", "RL-8", "    redis.call('PEXPIRE', view.key, ms(view.stamp + view.window - now + DAY_MS))\n", ""),
    _acquire("TTL in seconds", "RL-8", "redis.call('PEXPIRE',", "redis.call('EXPIRE',"),
    _acquire("TTL of little more than the logical life", "CM-3", " - now + DAY_MS", " - now + 1000"),
    _acquire("TTL from the stamp", "CM-3", "view.window - now + DAY_MS", "view.window - view.stamp + DAY_MS"),
    _acquire(
        "denied call charged",
        "RL-3",
        "if longest and not duplicate then return",
        "if longest and not duplicate then redis.call('ZADD', KEYS[1], ms(now), ms(now) .. '-999') return",
    ),
    _acquire("member collision", "RL-2", "redis.call('ZCOUNT', view.key, ms(view.stamp), ms(view.stamp)) or 1", "0 or 1"),
    _acquire("time backward", "RL-5", "view.stamp = math.max(now, view.newest or 0)", "view.stamp = now"),
    _acquire("cold start never ending", "RL-9", "view.stamp < warm_at and view.cold_limit", "warm_at > 0 and view.cold_limit"),
    _acquire(
        "cold start one ms long",
        "RL-9",
        "view.stamp < warm_at and view.cold_limit",
        "view.stamp <= warm_at and view.cold_limit",
    ),
    _python("ceil against floor", "RL-9", "rate_limiter", "limit * self.percent // 100", "-(-limit * self.percent // 100)"),
    _acquire(
        "cost above the cold limit admitted",
        "RL-6",
        "view.used + cost > view.in_force and",
        "view.used + math.min(cost, view.in_force) > view.in_force and",
    ),
    _acquire(
        "retry_after one short", "RL-4", "return reply(0, longest, longest_wait)", "return reply(0, longest, longest_wait - 1)"
    ),
    _acquire("retry_after beyond the cold start", "RL-4", "math.max(warm_at, fits_at", "math.max(warm_at + 1, fits_at"),
    _acquire("retry_after of the oldest", "RL-4", "view.dead + surplus - 1", "view.dead"),
    _acquire("cost counted once", "RL-2", "math.min(first + UNITS_PER_CALL, cost) - 1 do", "first do"),
    _acquire(
        "request id charged twice", "RL-7", "duplicate = duplicate or (admitted and", "duplicate = duplicate or (false and"
    ),
    _acquire(
        "request id remembered too long", "RL-7", "tonumber(admitted) > view.stamp - view.window", "tonumber(admitted) > 0"
    ),
    _acquire(
        "entries never trimmed",
        "RL-8",
        "  redis.call('ZREMRANGEBYSCORE', view.key, '-inf', ms(view.stamp - view.window))\n",
        "",
    ),
    _acquire("effective time replied", "CM-2", "retry_after, reset_after, now}", "retry_after, reset_after, view.stamp}"),
    _acquire("reply too short", "CM-8", "retry_after, reset_after, now}", "retry_after, reset_after}"),
    _acquire("members of another form", "RL-0", "'-%.0f'", "'/%.0f'"),
    _acquire("the last limit binds on a tie", "RL-15", "if wait > longest_wait", "if wait > 0 and wait >= longest_wait"),
    _acquire(
        "only the first limit charged",
        "RL-15",
        "for _, view in ipairs(views) do\n    local failure",
        "for _, view in ipairs({views[1]}) do\n    local failure",
    ),
    Fault(
        name="peek consumes",
        rule="RL-14",
        file="rate_limiter_zset_peek.lua",
        variant="zset",
        old="local view = views[scarcest]\n",
        new="local view = views[scarcest]\nredis.call('ZADD', view.key, now, now .. '-999')\n",
    ),
    Fault(
        name="reset forgets nothing",
        rule="RL-14",
        file="rate_limiter_reset.lua",
        variant="zset",
        old="redis.call('UNLINK', unpack(KEYS))\n",
        new="",
    ),
    _python("cost zero sent", "CM-9", "rate_limiter", 'checked_integer("cost", cost, 1,', 'checked_integer("cost", cost, 0,'),
    _python(
        "two limits of one window accepted",
        "RL-16",
        "rate_limiter",
        "for limit in limits}) < len(limits)",
        "for limit in limits}) < 0",
    ),
    _python("closing brace accepted", "CM-7", "arguments", 'character in "{}"', 'character in "{"'),
    _python("blind resend after a lost reply", "CM-4", "protocols", "RESENDS_MAX if request.idempotent else 0", "RESENDS_MAX"),
    _python(
        "an unknown outcome called definite", "CM-9", "protocols", "definite=not maybe_executed", "definite=error.definite"
    ),
    _packed("packed: edge off by one", "RL-1", "if newest <= horizon then", "if newest < horizon then"),
    _packed("packed: edge off by one in the ring", "RL-1", "if its_stamp > horizon then", "if its_stamp >= horizon then"),
    _packed("packed: no TTL", "RL-8", "    call('PEXPIRE', key, stamp + window - now + DAY_MS)\n", ""),
    _packed("packed: TTL in seconds", "RL-8", "call('PEXPIRE',", "call('EXPIRE',"),
    _packed("packed: TTL from the stamp", "CM-3", "stamp + window - now + DAY_MS", "window + DAY_MS"),
    _packed(
        "packed: denied call charged", "RL-3", "if binding > 0 then\n", "if binding > 0 then\n  call('APPEND', KEYS[1], 'x')\n"
    ),
    _packed("packed: time backward", "RL-5", "local stamp = newest > now and newest or now", "local stamp = now"),
    _packed(
        "packed: cold start never ending",
        "RL-9",
        "local is_cold, in_force = stamp < warm_at",
        "local is_cold, in_force = warm_at > 0",
    ),
    _packed(
        "packed: cold start one ms long",
        "RL-9",
        "local is_cold, in_force = stamp < warm_at",
        "local is_cold, in_force = stamp <= warm_at",
    ),
    _packed(
        "packed: cost above the cold limit admitted",
        "RL-6",
        "  if used + cost > in_force then\n",
        "  if used + math.min(cost, in_force) > in_force then\n",
    ),
    _packed(
        "packed: retry_after one short", "RL-4", "remaining, longest_wait, its_used", "remaining, longest_wait - 1, its_used"
    ),
    _packed("packed: retry_after of the oldest", "RL-4", "return before_stamp + window", "return head_stamp + window"),
    _packed(
        "packed: retry_after beyond the cold start", "RL-4", "at = math.max(at, warm_at)", "at = math.max(at, warm_at + 1)"
    ),
    _packed(
        "packed: cost counted once",
        "RL-2",
        "total + cost, head_stamp, head_total, head,",
        "total + 1, head_stamp, head_total, head,",
    ),
    _packed("packed: ring never grows", "RL-0", "if count < slots and", "if slots > 0 and"),
    _packed(
        "packed: only the first limit charged",
        "RL-15",
        "local scarcest, its_remaining\nfor i = 1, logs do",
        "local scarcest, its_remaining\nfor i = 1, 1 do",
    ),
    _acquire(
        "only two limits charged",
        "RL-15",
        "for _, view in ipairs(views) do\n    local failure",
        "for i, view in ipairs(views) do\n    if i > 2 then break end\n    local failure",
    ),
    _acquire("fourteen digits", "RL-2", "string.format('%.0f', number)", "tostring(number)"),
    _acquire("windows of 31 bits", "CM-9", "3 * i + 2], 1, 2^52)", "3 * i + 2], 1, 2^31)"),
    _acquire("times of 40 bits", "CM-9", "integer(ARGV[1], 0, 2^52)", "integer(ARGV[1], 0, 2^40)"),
    _python(
        "limits sorted by window",
        "RL-15",
        "rate_limiter",
        "else tuple(value)",
        "else tuple(sorted(value, key=lambda each: each.window_ms))",
    ),
    _python(
        "names unchecked but for acquires",
        "CM-7",
        "rate_limiter",
        '"{" + checked_name("name", name) + "}"',
        '"{" + str(name) + "}"',
    ),
)
