--[[ circuit_breaker_report: what did a call come to? Counted, unless its permit is of an older epoch or was reported before.

  spec   redstep_spec.circuit_breaker.report
  KEYS   1 breaker      hash, as circuit_breaker_acquire keeps it; absent means closed
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 failure_threshold integer >= 1; how many failures in a row open the breaker
         3 success_threshold integer >= 1; how many probes in a row must succeed to close it
         4 open_ms      integer >= 0, of a failure >= 1; how long it stays open if this opens it, jitter included
         5 epoch        integer >= 0; the permit's
         6 number       integer >= 0; the permit's
         7 outcome      success, failure or neutral
  reply  {counted, state, epoch, left, now_ms}
                        left is the state that this call made the breaker leave, or ""
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a breaker
  writes HSET, unless the permit is stale, or the breaker is closed and nothing changes
  cost   O(1); O(n) while half-open, n = probes in flight
]]
local MOST = 2^52
local tonumber, pcall = tonumber, redis.pcall

local now, failure_threshold, success_threshold = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not (now and now >= 0 and now <= MOST and now % 1 == 0) and ARGV[1] ~= '' then return redis.error_reply('EARG now_ms') end
if not (failure_threshold and failure_threshold >= 1 and failure_threshold <= MOST and failure_threshold % 1 == 0) then
  return redis.error_reply('EARG failure_threshold')
end
if not (success_threshold and success_threshold >= 1 and success_threshold <= MOST and success_threshold % 1 == 0) then
  return redis.error_reply('EARG success_threshold')
end
local open_ms, permit_epoch, permit_number, outcome = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
if outcome ~= 'success' and outcome ~= 'failure' and outcome ~= 'neutral' then return redis.error_reply('EARG outcome') end
if not (open_ms and open_ms >= 0 and open_ms <= MOST and open_ms % 1 == 0) or open_ms == 0 and outcome == 'failure' then
  return redis.error_reply('EARG open_ms')
end
if not (permit_epoch and permit_epoch >= 0 and permit_epoch <= MOST and permit_epoch % 1 == 0) then
  return redis.error_reply('EARG epoch')
end
if not (permit_number and permit_number >= 0 and permit_number <= MOST and permit_number % 1 == 0) then
  return redis.error_reply('EARG number')
end
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local stored = pcall('HMGET', KEYS[1], 'state', 'epoch', 'failures', 'until_ms')
if stored.err then
  local text = tostring(stored.err)
  return redis.error_reply(string.find(text, 'WRONGTYPE', 1, true) and 'ECORRUPT ' .. KEYS[1] or text)
end
local is_new = not stored[1] and redis.call('HLEN', KEYS[1]) == 0
if is_new then stored = {'closed', '0', '0', '0'} end
local state, epoch, failures = stored[1], tonumber(stored[2]), tonumber(stored[3])
if not (state and epoch and failures and epoch >= 0 and failures >= 0 and epoch <= MOST and failures <= MOST
    and epoch % 1 == 0 and failures % 1 == 0) then
  return redis.error_reply('ECORRUPT ' .. KEYS[1])
end

local left, count, changes = '', 0, nil
if state == 'closed' and stored[4] == '0' then
  if permit_epoch ~= epoch or permit_number ~= 0 then return {0, state, epoch, left, now} end
  if outcome == 'neutral' or outcome == 'success' and failures == 0 then return {1, state, epoch, left, now} end
  if outcome == 'failure' then count = failures + 1 end
  if count >= failure_threshold then
    left = state
  elseif is_new then
    changes = {'state', state, 'epoch', '0', 'failures', '1', 'until_ms', '0', 'successes', '0', 'next', '0', 'probes', ''}
  end
else
  local until_ms = tonumber(stored[4])
  if not (until_ms and until_ms >= 0 and until_ms <= MOST * 2 and until_ms % 1 == 0) or failures ~= 0 then
    return redis.error_reply('ECORRUPT ' .. KEYS[1])
  end
  if state == 'open' then return {0, state, epoch, left, now} end

  -- The numbers of the probes in flight, as they are stored; nil if they or what is stored with them cannot be.
  local function numbers(successes, next_number, text)
    if not (text and successes and next_number and successes >= 0 and successes % 1 == 0 and next_number >= 2
        and next_number <= MOST and next_number % 1 == 0) then return nil end
    local list, last = {}, 0
    for digits in string.gmatch(text, '[^,]+') do
      local number = tonumber(digits)
      if not (number and number > last and number < next_number and number % 1 == 0) then return nil end
      list[#list + 1], last = digits, number
    end
    return table.concat(list, ',') == text and successes + #list < next_number and list or nil
  end

  local rest = redis.call('HMGET', KEYS[1], 'successes', 'next', 'probes')
  local successes = tonumber(rest[1])
  local probes = state == 'half_open' and numbers(successes, tonumber(rest[2]), rest[3])
  if not probes then return redis.error_reply('ECORRUPT ' .. KEYS[1]) end
  local place
  for at, digits in ipairs(probes) do
    if tonumber(digits) == permit_number then place = at end
  end
  if not place or permit_epoch ~= epoch then return {0, state, epoch, left, now} end
  table.remove(probes, place)
  if outcome == 'success' then successes = successes + 1 end
  if outcome == 'failure' or successes >= success_threshold and outcome == 'success' then
    left = state
  else
    changes = {'successes', string.format('%.0f', successes), 'probes', table.concat(probes, ',')}
  end
end

if left ~= '' then
  state, epoch = outcome == 'failure' and 'open' or 'closed', epoch + 1
  changes = {'state', state, 'epoch', string.format('%.0f', epoch), 'failures', '0', 'until_ms',
    string.format('%.0f', outcome == 'failure' and now + open_ms or 0), 'successes', '0', 'next', '0', 'probes', ''}
end
local saved
if changes then
  saved = pcall('HSET', KEYS[1], unpack(changes))
else
  saved = pcall('HSET', KEYS[1], 'failures', string.format('%.0f', count))
end
if type(saved) == 'table' then  -- some engines put the place in the script before the code of an error
  return redis.error_reply((string.gsub(tostring(saved.err), '^@user_script:%s*%d+:%s*%-?', '')))
end
return {1, state, epoch, left, now}
