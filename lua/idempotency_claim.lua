--[[ idempotency_claim: may this caller do the work, or has it been done, or is somebody at it?

  spec   redstep_spec.idempotency.claim
  KEYS   1 record       hash; absent means new. `claim` is "state {token} dies_at_ms lease_until_ms fence fingerprint", where
                        the state is claimed, completed, unreplayable or released; `response` is what complete was given,
                        and is there if and only if the state is completed or unreplayable
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 token        string, not empty and without braces: who claims
         3 fingerprint  string, not empty: what tells one payload from another
         4 lease_ms     integer >= 1
         5 retention_ms integer >= 1
  reply  {verdict, fence, lease_until_ms, retry_after_ms, response, now_ms}  verdict is ACQUIRED, REPLAY, IN_PROGRESS, MISMATCH
         or UNREPLAYABLE (completed, but its response was not kept); what it is not about is 0 or ""
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a record
  writes HSET, then HDEL of a response that has died, and PEXPIRE or PEXPIREAT, when the key is acquired and was not already
  cost   O(1)
]]
local ARGV, redis, string = ARGV, redis, string
local DAY_MS, MOST, SUM_MOST = 86400000, 2^51, 2^53
local key, token, fingerprint = KEYS[1], ARGV[2], ARGV[3]
local lease, retention = tonumber(ARGV[4]), tonumber(ARGV[5])
if not token or token == '' or string.find(token, '}', 1, true) then return redis.error_reply('EARG token') end
if not fingerprint or fingerprint == '' then return redis.error_reply('EARG fingerprint') end
if not (lease and lease >= 1 and lease <= MOST and lease % 1 == 0) then return redis.error_reply('EARG lease_ms') end
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
local next_fence, has_response = 1, false
if #record > 0 then
  local fields = {}
  for i = 1, #record, 2 do fields[record[i]] = record[i + 1] end
  local state, owner, its_death, its_lease, its_fence, its_fingerprint =
    string.match(fields.claim or '', '^(%l+) {([^}]+)} (%d+) (%d+) ([1-9]%d*) (.+)$')
  local dies_at, lease_until, fence = tonumber(its_death), tonumber(its_lease), tonumber(its_fence)
  has_response = state == 'completed' or state == 'unreplayable'
  if not (state and (has_response or state == 'claimed' or state == 'released') and #record == (has_response and 4 or 2)
      and (fields.response ~= nil) == has_response and dies_at <= SUM_MOST and lease_until <= SUM_MOST
      and fence < SUM_MOST and (state ~= 'claimed' or lease_until < dies_at)) then
    return redis.error_reply('ECORRUPT ' .. key)
  end
  if now < dies_at then
    if its_fingerprint ~= fingerprint then return {'MISMATCH', 0, 0, 0, '', now} end
    if state == 'completed' then return {'REPLAY', 0, 0, 0, fields.response, now} end
    if state == 'unreplayable' then return {'UNREPLAYABLE', 0, 0, 0, '', now} end
    if state == 'claimed' and now < lease_until then
      if owner == token then return {'ACQUIRED', fence, lease_until, 0, '', now} end
      return {'IN_PROGRESS', 0, 0, lease_until - now, '', now}
    end
    next_fence = fence + 1
  end
end

local lease_until = now + lease
local dies_at = lease_until + retention
-- %d costs half as much as %.0f; it is as exact wherever a C long has 64 bits.
local numbers = string.format('} %d %d %d ', dies_at, lease_until, next_fence)
redis.call('HSET', key, 'claim', 'claimed {' .. token .. numbers .. fingerprint)
if has_response then redis.call('HDEL', key, 'response') end
if explicit_clock then
  redis.call('PEXPIRE', key, lease + retention + DAY_MS)
else
  redis.call('PEXPIREAT', key, dies_at)
end
return {'ACQUIRED', next_fence, lease_until, 0, '', now}
