--[[ rate_limiter_zset_acquire: may this call proceed under all of its limits? If so, charge it to each of them.

  spec   redstep_spec.rate_limiter.acquire
  KEYS   * log          sorted set, one for each limit; absent means empty. Score = time of admission in ms, member = one unit
                        of cost: "<ms>-<number>", or "id:<number>:<request id>"
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 cost         integer, 1 to the smallest limit
         3 request_id   string; "" for none. While one of its admissions counts, the same id is not charged again
         4 warm_at_ms   integer >= 0; from then on the whole limits hold, before it the cold ones
         * window_ms    integer >= 1; with the next two once for each key
         * limit        integer >= 1
         * cold_limit   integer, 1 to the limit
  reply  {allowed, binding, limit, remaining, retry_after_ms, reset_after_ms, now_ms}
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a log
  writes ZADD, ZREMRANGEBYSCORE, PEXPIRE or PEXPIREAT on every log, when the call is admitted and is no repetition
  cost   O(cost log n) a limit, n = entries; a denial O(log n)
]]
local UNITS_PER_CALL = 1000
local DAY_MS = 86400000

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

local function ms(number) return string.format('%.0f', number) end

if #KEYS == 0 or #ARGV ~= 4 + 3 * #KEYS then return refuse('limits') end
local explicit_clock = ARGV[1] ~= ''
local now = explicit_clock and integer(ARGV[1], 0, 2^52)
if explicit_clock and not now then return refuse('now_ms') end
local warm_at = integer(ARGV[4], 0, 2^52)
if not warm_at then return refuse('warm_at_ms') end
local request_id = ARGV[3]

local views, smallest = {}, 2^52
for i = 1, #KEYS do
  local window = integer(ARGV[3 * i + 2], 1, 2^52)
  if not window then return refuse('window_ms') end
  local limit = integer(ARGV[3 * i + 3], 1, 2^52)
  if not limit then return refuse('limit') end
  local cold_limit = integer(ARGV[3 * i + 4], 1, limit)
  if not cold_limit then return refuse('cold_limit') end
  smallest = math.min(smallest, limit)
  views[i] = {key = KEYS[i], window = window, limit = limit, cold_limit = cold_limit}
end
local cost = integer(ARGV[2], 1, smallest)
if not cost then return refuse('cost') end

if not explicit_clock then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The first instant, not before the log's time, at which what counts and this cost are within a limit.
local function fits_at(view, limit)
  local surplus = view.used + cost - limit
  if surplus <= 0 then return view.stamp end
  local rank = view.dead + surplus - 1
  return redis.call('ZRANGE', view.key, rank, rank, 'WITHSCORES')[2] + view.window
end

local function admissible_at(view)
  if view.stamp >= warm_at then return fits_at(view, view.limit) end
  local when_warm = math.max(warm_at, fits_at(view, view.limit))
  if cost > view.cold_limit then return when_warm end
  return math.min(when_warm, fits_at(view, view.cold_limit))
end

local duplicate, longest, longest_wait = false, nil, 0
for i, view in ipairs(views) do
  local newest = redis.pcall('ZRANGE', view.key, -1, -1, 'WITHSCORES')
  if newest.err then return failed(newest, view.key) end
  view.newest = newest[2] and integer(newest[2], 0, 2^52)
  if newest[2] and not view.newest then return redis.error_reply('ECORRUPT ' .. view.key) end
  view.stamp = math.max(now, view.newest or 0)
  view.in_force = view.stamp < warm_at and view.cold_limit or view.limit
  view.used, view.dead = 0, 0
  if view.newest and view.newest > view.stamp - view.window then
    view.used = redis.call('ZCOUNT', view.key, '(' .. ms(view.stamp - view.window), '+inf')
    view.dead = redis.call('ZCARD', view.key) - view.used
  end
  if request_id ~= '' then
    local admitted = redis.call('ZSCORE', view.key, 'id:1:' .. request_id)
    duplicate = duplicate or (admitted and tonumber(admitted) > view.stamp - view.window)
  end
  local wait = view.used + cost > view.in_force and admissible_at(view) - now or 0
  if wait > longest_wait then longest, longest_wait = i, wait end
end

local function reply(allowed, i, retry_after)
  local view = views[i]
  local remaining = math.max(view.in_force - view.used, 0)
  local reset_after = view.used > 0 and view.newest + view.window - now or 0
  return {allowed, i - 1, view.in_force, remaining, retry_after, reset_after, now}
end

if longest and not duplicate then return reply(0, longest, longest_wait) end

-- Where an admission starts to number its units: no two of one instant share a number, for numbers only grow.
for _, view in ipairs(views) do
  view.first_unit = request_id == '' and redis.call('ZCOUNT', view.key, ms(view.stamp), ms(view.stamp)) or 1
  view.unit = request_id == '' and ms(view.stamp) .. '-%.0f' or 'id:%.0f:'
end

local function admit(view)
  local stamp = ms(view.stamp)
  for first = 0, cost - 1, UNITS_PER_CALL do
    local members = {}
    for number = first, math.min(first + UNITS_PER_CALL, cost) - 1 do
      members[#members + 1] = stamp
      members[#members + 1] = string.format(view.unit, view.first_unit + number) .. request_id
    end
    local added = redis.pcall('ZADD', view.key, unpack(members))
    if type(added) == 'table' then return failed(added, view.key) end
  end
  redis.call('ZREMRANGEBYSCORE', view.key, '-inf', ms(view.stamp - view.window))
  if explicit_clock then
    redis.call('PEXPIRE', view.key, ms(view.stamp + view.window - now + DAY_MS))
  else
    redis.call('PEXPIREAT', view.key, ms(view.stamp + view.window))
  end
  view.used, view.newest = view.used + cost, view.stamp
end

if not duplicate then
  for _, view in ipairs(views) do
    local failure = admit(view)
    if failure then return failure end
  end
end

local scarcest = 1
for i, view in ipairs(views) do
  local least = views[scarcest]
  if math.max(view.in_force - view.used, 0) < math.max(least.in_force - least.used, 0) then scarcest = i end
end
return reply(1, scarcest, 0)
