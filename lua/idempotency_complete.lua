--[[ idempotency_complete: does the caller own this claim? If so, the work is done, and this is its response.

  spec   redstep_spec.idempotency.complete
  KEYS   1 record       hash; absent means new. `claim` and `response`, as idempotency_claim tells
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 token        string, not empty and without braces: who claimed
         3 response     string of any bytes: what is to be replayed, or what tells it from others if it is not
         4 replayable   "1" if it is to be replayed, else "0"
         5 retention_ms integer >= 1
  reply  {verdict, now_ms}  verdict is DONE, STALE_OWNER, or CONFLICT if the same token completed it with another response
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a record
  writes HSET, then PEXPIRE, or PEXPIREAT if the key would expire too early, when the caller owns the claim
  cost   O(1)
]]
local ARGV, redis, string = ARGV, redis, string
local DAY_MS, MOST, SUM_MOST = 86400000, 2^51, 2^53
local key, token, response, retention = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
if not token or token == '' or string.find(token, '}', 1, true) then return redis.error_reply('EARG token') end
if not response then return redis.error_reply('EARG response') end
local done = ARGV[4] == '1' and 'completed' or ARGV[4] == '0' and 'unreplayable'
if not done then return redis.error_reply('EARG replayable') end
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

local claim = redis.pcall('HGET', key, 'claim')
if claim and claim.err then
  -- Some engines put the place in the script before the code of an error.
  local text = string.gsub(tostring(claim.err), '^@user_script:%s*%d+:%s*%-?', '')
  return redis.error_reply(string.find(text, 'WRONGTYPE', 1, true) and 'ECORRUPT ' .. key or text)
end

-- The owner of a claim that lives is told by its first bytes; only what is something else is taken apart.
local mine = 'claimed {' .. token .. '} '
local dies_at, rest
if claim and string.sub(claim, 1, #mine) == mine then
  local its_death = string.match(claim, '^(%d+) %d+ [1-9]%d* .', #mine + 1)
  dies_at = tonumber(its_death)
  if dies_at and now < dies_at and dies_at <= SUM_MOST then
    rest = string.sub(claim, #mine + #its_death + 1)
  end
end

if not rest then
  local record, fields, verdict = redis.call('HGETALL', key), {}, 'STALE_OWNER'
  for i = 1, #record, 2 do fields[record[i]] = record[i + 1] end
  if #record > 0 then
    local state, last_owner, its_death, its_lease, its_fence =
      string.match(claim or '', '^(%l+) {([^}]+)} (%d+) (%d+) ([1-9]%d*) .')
    local its_end, lease_until, fence = tonumber(its_death), tonumber(its_lease), tonumber(its_fence)
    local has_response = state == 'completed' or state == 'unreplayable'
    if not (state and (has_response or state == 'claimed' or state == 'released') and #record == (has_response and 4 or 2)
        and (fields.response ~= nil) == has_response and its_end <= SUM_MOST and lease_until <= SUM_MOST
        and fence <= SUM_MOST and (state ~= 'claimed' or lease_until < its_end)) then
      return redis.error_reply('ECORRUPT ' .. key)
    end
    if last_owner == token and has_response and now < its_end then
      verdict = state == done and fields.response == response and 'DONE' or 'CONFLICT'
    end
  end
  return {verdict, now}
end

local retained_until = now + retention
-- %d costs half as much as %.0f; it is as exact wherever a C long has 64 bits.
local kept_as = done .. ' {' .. token .. '} ' .. string.format('%d', retained_until) .. rest
redis.call('HSET', key, 'claim', kept_as, 'response', response)
if explicit_clock then
  redis.call('PEXPIRE', key, retention + DAY_MS)
elseif retained_until > dies_at then
  redis.call('PEXPIREAT', key, retained_until)
end
return {'DONE', now}
