--[[ circuit_breaker_view: what does a breaker look like, and how long would a call have to wait?

  spec   redstep_spec.circuit_breaker.view
  KEYS   1 breaker      hash, as circuit_breaker_acquire keeps it; absent means closed
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 success_threshold integer >= 1; how many probes in a row must succeed
         3 open_ms      integer >= 1; how long a breaker stays open, before jitter, and waits for a probe
  reply  {state, epoch, failures, successes, probes, retry_after_ms, now_ms}
                        probes is how many are in flight; retry_after_ms is 0 if a call would be admitted now
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a breaker
  writes nothing
  cost   O(1); O(n) while half-open, n = probes in flight
]]
local MOST = 2^52

local function integer(text, least)
  local number = tonumber(text)
  return number and number >= least and number <= MOST and number % 1 == 0 and number or nil
end

local function refuse(name) return redis.error_reply('EARG ' .. name) end

local now = integer(ARGV[1], 0)
if not now and ARGV[1] ~= '' then return refuse('now_ms') end
local success_threshold = integer(ARGV[2], 1)
if not success_threshold then return refuse('success_threshold') end
local open_ms = integer(ARGV[3], 1)
if not open_ms then return refuse('open_ms') end
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function corrupt() return redis.error_reply('ECORRUPT ' .. KEYS[1]) end

-- Some engines put the place in the script before the code of an error.
local function failed(reply)
  local text = string.gsub(tostring(reply.err), '^@user_script:%s*%d+:%s*%-?', '')
  return string.find(text, 'WRONGTYPE', 1, true) and corrupt() or redis.error_reply(text)
end

local stored = redis.pcall('HMGET', KEYS[1], 'state', 'epoch', 'failures', 'until_ms', 'successes', 'next', 'probes')
if stored.err then return failed(stored) end
if not stored[1] and redis.call('HLEN', KEYS[1]) == 0 then stored = {'closed', '0', '0', '0', '0', '0', ''} end
local state, epoch, failures, until_ms = stored[1], integer(stored[2], 0), integer(stored[3], 0), tonumber(stored[4])
local successes, next_number = integer(stored[5], 0), integer(stored[6], 0)
if not (epoch and failures and until_ms and successes and next_number and stored[7] and until_ms >= 0
    and until_ms <= MOST * 2 and until_ms % 1 == 0) then return corrupt() end

local probes, last = {}, 0
for digits in string.gmatch(stored[7], '[^,]+') do
  last = integer(digits, last + 1)
  if not last or last >= next_number then return corrupt() end
  probes[#probes + 1] = digits
end
if table.concat(probes, ',') ~= stored[7] then return corrupt() end

local is_possible
if state == 'closed' then
  is_possible = until_ms == 0 and next_number == 0 and successes == 0
elseif state == 'open' then
  is_possible = failures == 0 and next_number == 0 and successes == 0
else
  is_possible = state == 'half_open' and failures == 0 and successes + #probes < next_number
end
if not is_possible then return corrupt() end

local wait = 0
if state == 'open' or #probes > 0 and successes + #probes >= success_threshold then
  local latest_ms = now + open_ms + math.floor(open_ms / 5)
  wait = math.max(math.min(until_ms, latest_ms) - now, 0)
end
return {state, epoch, failures, successes, #probes, wait, now}
