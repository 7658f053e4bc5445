--[[ rate_limiter_packed_peek: how much is left under each of several limits, without using any?

  spec   redstep_spec.rate_limiter.peek
  KEYS   * log          string, one for each limit, as rate_limiter_packed_acquire keeps it; absent means empty
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 warm_at_ms   integer >= 0; from then on the whole limits hold, before it the cold ones
         * window_ms    integer >= 1; with the next two once for each key
         * limit        integer >= 1
         * cold_limit   integer, 1 to the limit
  reply  {binding, limit, remaining, reset_after_ms, now_ms}
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a log
  writes nothing
  cost   O(1) a limit; O(log n) after many admissions ended together, n = records
]]
local HEADER, RECORD = 56, 16
local SLOTS_MOST = 2^25 -- a string holds 512 MB

local function refuse(name) return redis.error_reply('EARG ' .. name) end

local function is_integer(number, least, most)
  return number and number >= least and number <= most and number % 1 == 0
end

local function corrupt(key) return redis.error_reply('ECORRUPT ' .. key) end

-- Some engines put the place in the script before the code of an error.
local function failed(reply, key)
  local text = string.gsub(tostring(reply.err), '^@user_script:%s*%d+:%s*%-?', '')
  if string.find(text, 'WRONGTYPE', 1, true) then return corrupt(key) end
  return redis.error_reply(text)
end

local logs = #KEYS
if logs == 0 or #ARGV ~= 2 + 3 * logs then return refuse('limits') end
local now = tonumber(ARGV[1])
if ARGV[1] ~= '' and not is_integer(now, 0, 2^52) then return refuse('now_ms') end
local warm_at = tonumber(ARGV[2])
if not is_integer(warm_at, 0, 2^52) then return refuse('warm_at_ms') end
for i = 1, logs do
  local window, limit, cold_limit = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if not is_integer(window, 1, 2^52) then return refuse('window_ms') end
  if not is_integer(limit, 1, 2^52) then return refuse('limit') end
  if not is_integer(cold_limit, 1, limit) then return refuse('cold_limit') end
end
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Stamp of a record, and the total before it; of one that is not stored, what no log holds.
local function record(key, index, slots)
  local at = HEADER + index % slots * RECORD
  local text = redis.call('GETRANGE', key, at, at + RECORD - 1)
  if #text < RECORD then return 2^53, -1 end
  return struct.unpack('>dd', text)
end

-- The first of the records from `first` on, before `past`, that is later than an instant: by steps that double, then halve.
local function first_after(key, slots, first, past, instant)
  local dead, step = first, 1
  while dead + step < past and record(key, dead + step, slots) <= instant do
    dead, step = dead + step, step * 2
  end
  local live = math.min(dead + step, past)
  while live - dead > 1 do
    local middle = math.floor((dead + live) / 2)
    if record(key, middle, slots) <= instant then dead = middle else live = middle end
  end
  return live
end

local scarcest, its_limit, its_remaining, its_reset
for i = 1, logs do
  local key, window = KEYS[i], tonumber(ARGV[3 * i])
  local header = redis.pcall('GETRANGE', key, 0, HEADER - 1)
  if type(header) == 'table' then return failed(header, key) end
  local used, reset_after, stamp = 0, 0, now
  if header ~= '' then
    if #header ~= HEADER then return corrupt(key) end
    local newest, total, head_stamp, head_total, head, count, slots = struct.unpack('>ddddddd', header)
    if not (is_integer(newest, 0, 2^52) and is_integer(head_stamp, 0, newest) and is_integer(total, 1, 2^52)
        and is_integer(head_total, 0, total - 1) and is_integer(head, 0, 2^52) and is_integer(slots, 1, SLOTS_MOST)
        and is_integer(count, 1, slots)) then
      return corrupt(key)
    end
    stamp = math.max(now, newest)
    local horizon = stamp - window
    if newest > horizon then
      if head_stamp <= horizon then
        local _
        _, head_total = record(key, first_after(key, slots, head, head + count, horizon), slots)
        if not is_integer(head_total, 0, total - 1) then return corrupt(key) end
      end
      used, reset_after = total - head_total, newest + window - now
    end
  end
  local in_force = tonumber(stamp < warm_at and ARGV[3 * i + 2] or ARGV[3 * i + 1])
  local remaining = math.max(in_force - used, 0)
  if i == 1 or remaining < its_remaining then
    scarcest, its_limit, its_remaining, its_reset = i, in_force, remaining, reset_after
  end
end
return {scarcest - 1, its_limit, its_remaining, its_reset, now}
