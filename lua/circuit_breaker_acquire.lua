--[[ circuit_breaker_acquire: may a call be made?

  spec   redstep_spec.circuit_breaker.acquire
  KEYS   1 breaker      hash; absent means closed, in epoch 0, without failures. Its fields, all always there:
                        state closed, open or half_open; epoch; failures in a row, while closed; until_ms, the end of the
                        timeout or the probe deadline; while half-open successes, next and probes: the number that the next
                        probe gets, and those in flight, in ascending order, separated by commas
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 success_threshold integer >= 1; how many probes in a row must succeed
         3 open_ms      integer >= 1; how long a breaker stays open, before jitter, and waits for a probe
  reply  {admitted, state, epoch, number, retry_after_ms, left, now_ms}
                        number is the probe's, or 0; left is the state that this call made the breaker leave, or ""
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a breaker
  writes HSET, when a probe is admitted, or a deadline is farther off than the longest timeout
  cost   O(1); O(n) while half-open, n = probes in flight
]]
local MOST = 2^52
local tonumber, pcall = tonumber, redis.pcall

local now, success_threshold, open_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not (now and now >= 0 and now <= MOST and now % 1 == 0) and ARGV[1] ~= '' then return redis.error_reply('EARG now_ms') end
if not (success_threshold and success_threshold >= 1 and success_threshold <= MOST and success_threshold % 1 == 0) then
  return redis.error_reply('EARG success_threshold')
end
if not (open_ms and open_ms >= 1 and open_ms <= MOST and open_ms % 1 == 0) then return redis.error_reply('EARG open_ms') end
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local stored = pcall('HMGET', KEYS[1], 'state', 'epoch', 'failures', 'until_ms')
if stored.err then
  local text = tostring(stored.err)
  return redis.error_reply(string.find(text, 'WRONGTYPE', 1, true) and 'ECORRUPT ' .. KEYS[1] or text)
end
local state, epoch, failures = stored[1], tonumber(stored[2]), tonumber(stored[3])
if not state and redis.call('HLEN', KEYS[1]) == 0 then return {1, 'closed', 0, 0, 0, '', now} end
if not (state and epoch and failures and epoch >= 0 and failures >= 0 and epoch <= MOST and failures <= MOST
    and epoch % 1 == 0 and failures % 1 == 0) then
  return redis.error_reply('ECORRUPT ' .. KEYS[1])
end
if state == 'closed' and stored[4] == '0' then return {1, state, epoch, 0, 0, '', now} end

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

local until_ms, successes, next_number, probes = tonumber(stored[4]), 0, 0, {}
if state == 'half_open' then
  local rest = redis.call('HMGET', KEYS[1], 'successes', 'next', 'probes')
  successes, next_number = tonumber(rest[1]), tonumber(rest[2])
  probes = numbers(successes, next_number, rest[3])
end
if not (probes and until_ms and until_ms >= 0 and until_ms <= MOST * 2 and until_ms % 1 == 0) or failures ~= 0
    or state ~= 'open' and state ~= 'half_open' then
  return redis.error_reply('ECORRUPT ' .. KEYS[1])
end

local function ms(number) return string.format('%.0f', number) end

local waits = state == 'open' or #probes > 0
local latest_ms = now + open_ms + math.floor(open_ms / 5)
local admitted, number, left, changes = 1, 1, '', nil
if waits and now >= until_ms then
  left, state, epoch = state, 'half_open', epoch + 1
  changes = {'state', state, 'epoch', ms(epoch), 'until_ms', ms(now + open_ms), 'successes', '0', 'next', '2', 'probes', '1'}
elseif state == 'half_open' and (not waits or successes + #probes < success_threshold) then
  number = next_number
  probes[#probes + 1] = ms(number)
  changes = {'until_ms', ms(now + open_ms), 'next', ms(number + 1), 'probes', table.concat(probes, ',')}
else
  admitted, number = 0, 0
  if until_ms > latest_ms then
    until_ms = latest_ms
    changes = {'until_ms', ms(until_ms)}
  end
end

if changes then
  local saved = pcall('HSET', KEYS[1], unpack(changes))
  if type(saved) == 'table' then  -- some engines put the place in the script before the code of an error
    return redis.error_reply((string.gsub(tostring(saved.err), '^@user_script:%s*%d+:%s*%-?', '')))
  end
end
return {admitted, state, epoch, number, admitted == 1 and 0 or until_ms - now, left, now}
