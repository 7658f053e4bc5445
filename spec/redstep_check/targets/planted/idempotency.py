"""Faults for the idempotency store: each is caught by lockstep under its rule."""

from redstep_check.targets.planted import Fault


def _script(operation: str, name: str, rule: str, old: str, new: str) -> Fault:
    return Fault(name=f"{operation}: {name}", rule=rule, file=f"idempotency_{operation}.lua", old=old, new=new, variant="hash")


def _claim(name: str, rule: str, old: str, new: str) -> Fault:
    return _script("claim", name, rule, old, new)


def _complete(name: str, rule: str, old: str, new: str) -> Fault:
    return _script("complete", name, rule, old, new)


def _release(name: str, rule: str, old: str, new: str) -> Fault:
    return _script("release", name, rule, old, new)


def _renew(name: str, rule: str, old: str, new: str) -> Fault:
    return _script("renew", name, rule, old, new)


def _python(name: str, rule: str, old: str, new: str, module: str = "idempotency_protocols") -> Fault:
    return Fault(name=name, rule=rule, file=f"redstep.{module}", old=old, new=new, variant="hash")


FAULTS = (
    _claim("the owner is locked out of its own work", "ID-1", "if owner == token then return", "if false then return"),
    _claim("a claim is shared", "ID-3", "if owner == token then return", "if true then return"),
    _claim(
        "a response is told before the payload is compared",
        "ID-2",
        "if its_fingerprint ~= fingerprint then",
        "if its_fingerprint ~= fingerprint and state ~= 'completed' then",
    ),
    _claim(
        "a tombstone forgets the payload",
        "ID-2",
        "if its_fingerprint ~= fingerprint then",
        "if its_fingerprint ~= fingerprint and state ~= 'released' then",
    ),
    _claim(
        "a takeover changes the payload",
        "ID-2",
        "if its_fingerprint ~= fingerprint then",
        "if its_fingerprint ~= fingerprint and (state ~= 'claimed' or now < lease_until) then",
    ),
    _claim("a lease is a millisecond too long", "ID-4", "and now < lease_until then", "and now <= lease_until then"),
    _claim(
        "the same token takes over from itself",
        "ID-1",
        "if owner == token then return",
        "if owner == token then next_fence = fence else return",
    ),
    _claim("the wait is for the death", "ID-4", "lease_until - now, '', now}", "dies_at - now, '', now}"),
    _claim("an abandoned claim dies too early", "ID-4", "dies_at = lease_until + retention\n", "dies_at = lease_until + 1\n"),
    _claim("the fence stands still", "ID-5", "next_fence = fence + 1", "next_fence = fence"),
    _claim(
        "a tombstone's fence starts anew",
        "ID-5",
        "next_fence = fence + 1",
        "next_fence = state == 'released' and 1 or fence + 1",
    ),
    _claim("the dead are replayed", "ID-8", "if now < dies_at then", "if now < dies_at or has_response then"),
    _claim("a dead response lies on", "ID-8", "if has_response then redis.call('HDEL', key, 'response') end\n", ""),
    _claim("no TTL at all", "CM-3", "  redis.call('PEXPIRE', key, lease + retention + DAY_MS)\n", ""),
    _claim("the lease is in seconds", "ID-4", "local lease_until = now + lease\n", "local lease_until = now + lease * 1000\n"),
    _complete(
        "anybody may",
        "ID-6",
        "local mine = 'claimed {' .. token .. '} '",
        "local mine = string.match(claim or '', '^claimed {[^}]+} ') or 'claimed {' .. token .. '} '",
    ),
    _complete(
        "not after the lease",
        "ID-4",
        "if dies_at and now < dies_at and",
        "if dies_at and now < tonumber(string.match(claim, '^%d+ (%d+)', #mine + 1)) and",
    ),
    _complete("the dead are brought back", "ID-8", "if dies_at and now < dies_at and", "if dies_at and"),
    _complete(
        "the retention counts from the claim",
        "ID-8",
        "local retained_until = now + retention",
        "local retained_until = dies_at",
    ),
    _complete(
        "the retention starts anew",
        "ID-6",
        "  return {verdict, now}\n",
        "  local anew = string.gsub(claim or '', '} %d+', string.format('} %d', now + retention))\n"
        "  if verdict == 'DONE' then redis.call('HSET', key, 'claim', anew) end\n"
        "  return {verdict, now}\n",
    ),
    _complete("the TTL is the logical life", "CM-3", "retention + DAY_MS)", "retention)"),
    _complete("another response is welcome", "ID-6", "'DONE' or 'CONFLICT'", "'DONE' or 'DONE'"),
    _complete(
        "line ends are mended", "ID-10", "'response', response)", "'response', (string.gsub(response, '\\r\\n', '\\n')))"
    ),
    _complete("the too large is replayed", "ID-10", "ARGV[4] == '0' and 'unreplayable'", "ARGV[4] == '0' and 'completed'"),
    _complete("the reply tells another time", "CM-2", "return {verdict, now}", "return {verdict, dies_at or 0}"),
    _complete("the reply is too short", "CM-8", "return {'DONE', now}", "return {'DONE'}"),
    _release("after completion", "ID-6", "if has_response then return {'CONFLICT', now} end\n", ""),
    _release("anybody may do it", "ID-6", "if owner ~= token or now >= dies_at then", "if now >= dies_at then"),
    _release(
        "the fence is lost",
        "ID-5",
        "redis.call('HSET', key, 'claim', 'released {' .. token .. numbers .. its_fingerprint)",
        "redis.call('DEL', key)",
    ),
    _release("not twice", "ID-6", "then return {'DONE', now} end", "then return {'STALE_OWNER', now} end"),
    _release("the dead may", "ID-8", "if owner ~= token or now >= dies_at then", "if owner ~= token then"),
    _renew("it shortens", "ID-4", "lease_until = math.max(lease_until, now + lease)", "lease_until = now + lease"),
    _renew("a tombstone", "ID-6", " or state == 'released' then", " then"),
    _renew("from the end of the lease", "ID-4", "math.max(lease_until, now + lease)", "lease_until + lease"),
    _renew(
        "the death stays where it was",
        "ID-4",
        "dies_at = lease_until + retention\n",
        "dies_at = math.max(dies_at, lease_until + 1)\n",
    ),
    _python(
        "a lost completion is not asked for again",
        "CM-4",
        "args=(NOW, *args), idempotent=True",
        "args=(NOW, *args), idempotent=False",
    ),
    _python("an operation of any kind", "CM-7", 'return checked_name("operation", value)', "return value", "idempotency"),
    _python("of the too large nothing is kept", "ID-10", "hashlib.sha256(response).digest()", 'b""'),
    _python("the size limit is off by one", "ID-10", "> policy.response_max_bytes:", ">= policy.response_max_bytes:"),
    _python("scopes are joined by colons", "ID-9", 'f"{len(name.encode())}:{name}" for name', "name for name", "idempotency"),
    _python("tenants share their keys", "ID-9", "{tenant}:{operation}:{self.key}", "{operation}:{self.key}", "idempotency"),
    _python(
        "a fingerprint is cut short", "ID-2", "if not 1 <= len(text) <= FINGERPRINT_BYTES_MAX:", "if not text:", "idempotency"
    ),
)
