--[[ rate_limiter_zset_peek: how much is left under each of several limits, without using any?

  spec   redstep_spec.rate_limiter.peek
  KEYS   * log          sorted set, one for each limit, as rate_limiter_zset_acquire keeps it; absent means empty
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 warm_at_ms   integer >= 0; from then on the whole limits hold, before it the cold ones
         * window_ms    integer >= 1; with the next two once for each key
         * limit        integer >= 1
         * cold_limit   integer, 1 to the limit
  reply  {binding, limit, remaining, reset_after_ms, now_ms}
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a log
  writes nothing
  cost   O(log n) a limit, n = entries
]]
local function integer(text, least, most)
  if not text or #text > 16 or not string.match(text, '^%d+$') then return nil end
  local number = tonumber(text)
  if number < least or number > most then return nil end
  return number
end

local function refuse(name) return redis.error_reply('EARG ' .. name) end

-- Some engines put the place in the script before the code of an error.
local function failed(reply, key)
  local text = string.gsub(tostring(reply.err), '^@user_script:%s*%d+:%s*%-?', '')
  if string.find(text, 'WRONGTYPE', 1, true) then return redis.error_reply('ECORRUPT ' .. key) end
  return redis.error_reply(text)
end

if #KEYS == 0 or #ARGV ~= 2 + 3 * #KEYS then return refuse('limits') end
local now = ARGV[1] ~= '' and integer(ARGV[1], 0, 2^52)
if ARGV[1] ~= '' and not now then return refuse('now_ms') end
local warm_at = integer(ARGV[2], 0, 2^52)
if not warm_at then return refuse('warm_at_ms') end

local views = {}
for i = 1, #KEYS do
  local window = integer(ARGV[3 * i], 1, 2^52)
  if not window then return refuse('window_ms') end
  local limit = integer(ARGV[3 * i + 1], 1, 2^52)
  if not limit then return refuse('limit') end
  local cold_limit = integer(ARGV[3 * i + 2], 1, limit)
  if not cold_limit then return refuse('cold_limit') end
  views[i] = {key = KEYS[i], window = window, limit = limit, cold_limit = cold_limit}
end

if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local scarcest
for i, view in ipairs(views) do
  local newest = redis.pcall('ZRANGE', view.key, -1, -1, 'WITHSCORES')
  if newest.err then return failed(newest, view.key) end
  local newest_ms = newest[2] and integer(newest[2], 0, 2^52)
  if newest[2] and not newest_ms then return redis.error_reply('ECORRUPT ' .. view.key) end
  local stamp = math.max(now, newest_ms or 0)
  view.in_force = stamp < warm_at and view.cold_limit or view.limit
  local used = redis.call('ZCOUNT', view.key, '(' .. string.format('%.0f', stamp - view.window), '+inf')
  view.remaining = math.max(view.in_force - used, 0)
  view.reset_after = used > 0 and newest_ms + view.window - now or 0
  if not scarcest or view.remaining < views[scarcest].remaining then scarcest = i end
end

local view = views[scarcest]
return {scarcest - 1, view.in_force, view.remaining, view.reset_after, now}
