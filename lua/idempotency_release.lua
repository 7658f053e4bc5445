--[[ idempotency_release: does the caller own this claim? If so, he gives it up, without any effect of the work.

  spec   redstep_spec.idempotency.release
  KEYS   1 record       hash; absent means new. `claim` and `response`, as idempotency_claim tells
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 token        string, not empty and without braces: who claimed
         3 retention_ms integer >= 1: how long fingerprint and fence are remembered
  reply  {verdict, now_ms}  verdict is DONE, STALE_OWNER, or CONFLICT if the same token completed it
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a record
  writes HSET, then PEXPIRE or PEXPIREAT, when the caller owns the claim and has not released it already
  cost   O(1)
]]
local DAY_MS, MOST, SUM_MOST = 86400000, 2^51, 2^53
local key, token, retention = KEYS[1], ARGV[2], tonumber(ARGV[3])
if not token or token == '' or string.find(token, '}', 1, true) then return redis.error_reply('EARG token') end
if not (retention and retention >= 1 and retention <= MOST and retention % 1 == 0) then
  return redis.error_reply('EARG retention_ms')
end
local explicit_clock, now = ARGV[1] ~= '', nil
if explicit_clock then
  now = tonumber(ARGV[1])
  if not (now and now >= 0 and now <= MOST and now % 1 == 0) then return redis.error_reply('EARG now_ms') end
else
  local time = redis.call('TIME')
  local ms = time[2] / 1000
  now = time[1] * 1000 + (ms - ms % 1)
end

local record = redis.pcall('HGETALL', key)
if record.err then
  -- Some engines put the place in the script before the code of an error.
  local text = string.gsub(tostring(record.err), '^@user_script:%s*%d+:%s*%-?', '')
  return redis.error_reply(string.find(text, 'WRONGTYPE', 1, true) and 'ECORRUPT ' .. key or text)
end
if #record == 0 then return {'STALE_OWNER', now} end
local fields = {}
for i = 1, #record, 2 do fields[record[i]] = record[i + 1] end
local state, owner, its_death, its_lease, its_fence, its_fingerprint =
  string.match(fields.claim or '', '^(%l+) {([^}]+)} (%d+) (%d+) ([1-9]%d*) (.+)$')
local dies_at, lease_until, fence = tonumber(its_death), tonumber(its_lease), tonumber(its_fence)
local has_response = state == 'completed' or state == 'unreplayable'
if not (state and (has_response or state == 'claimed' or state == 'released') and #record == (has_response and 4 or 2)
    and (fields.response ~= nil) == has_response and dies_at <= SUM_MOST and lease_until <= SUM_MOST
    and fence <= SUM_MOST and (state ~= 'claimed' or lease_until < dies_at)) then
  return redis.error_reply('ECORRUPT ' .. key)
end

if owner ~= token or now >= dies_at then return {'STALE_OWNER', now} end
if has_response then return {'CONFLICT', now} end
if state == 'released' then return {'DONE', now} end

local numbers = string.format('} %d %d %d ', now + retention, lease_until, fence)
redis.call('HSET', key, 'claim', 'released {' .. token .. numbers .. its_fingerprint)
if explicit_clock then
  redis.call('PEXPIRE', key, retention + DAY_MS)
else
  redis.call('PEXPIREAT', key, now + retention)
end
return {'DONE', now}
