--[[ rate_limiter_packed_acquire: may this call proceed under all of its limits? If so, charge it to each of them.

  spec   redstep_spec.rate_limiter.acquire
  KEYS   * log          string, one for each limit; absent means empty. Big-endian doubles: seven of a header (newest stamp, total
                        cost, stamp and index of the first record not known to be dead and the total before it, number of
                        records from there, number of slots), then in each slot two of a record (stamp, total before it).
                        Record i lies in slot i modulo the number of slots, so what is dead is overwritten and never moved
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
         2 cost         integer, 1 to the smallest limit
         3 warm_at_ms   integer >= 0; from then on the whole limits hold, before it the cold ones
         * window_ms    integer >= 1; with the next two once for each key
         * limit        integer >= 1
         * cold_limit   integer, 1 to the limit; looked at before warm_at_ms only
  reply  {allowed, binding, limit, remaining, retry_after_ms, reset_after_ms, now_ms}
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> what is stored is not such a log
         OOM <text>     the engine has no memory for more, or a string no room
  writes SETRANGE or SET, then PEXPIRE or PEXPIREAT on every log, when the call is admitted
  cost   O(1) a limit; O(log n) after many admissions ended together or for a dear call, n = records; O(n) when a log grows
]]
-- A denial is the hot path: no closure is made and no record read before one is needed.
local HEADER, RECORD, SPARE_SLOTS, DAY_MS, MOST = 56, 16, 2, 86400000, 2^52
local SLOTS_MOST = 2^25 - 4 -- a string holds 512 MB
local KEYS, ARGV, tonumber, call, unpack_doubles = KEYS, ARGV, tonumber, redis.call, struct.unpack

local logs = #KEYS
if logs == 0 or #ARGV ~= 3 + 3 * logs then return redis.error_reply('EARG limits') end
local cost, warm_at = tonumber(ARGV[2]), tonumber(ARGV[3])
if not (cost and cost >= 1 and cost <= MOST and cost % 1 == 0) then return redis.error_reply('EARG cost') end
if not (warm_at and warm_at >= 0 and warm_at <= MOST and warm_at % 1 == 0) then return redis.error_reply('EARG warm_at_ms') end
local explicit_clock, now = ARGV[1] ~= '', nil
if explicit_clock then
  now = tonumber(ARGV[1])
  if not (now and now >= 0 and now <= MOST and now % 1 == 0) then return redis.error_reply('EARG now_ms') end
else
  local time = call('TIME')
  local ms = time[2] / 1000
  now = time[1] * 1000 + (ms - ms % 1)
end

-- What a denial is about: the limit to wait for longest.
local binding, longest_wait, its_limit, its_used, its_reset = 0, 0, 0, 0, 0
local views, strings
for i = 1, logs do
  local window, limit = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if not (window and window >= 1 and window <= MOST and window % 1 == 0) then return redis.error_reply('EARG window_ms') end
  if not (limit and limit >= 1 and limit <= MOST and limit % 1 == 0) then return redis.error_reply('EARG limit') end
  if cost > limit then return redis.error_reply('EARG cost') end

  local key = KEYS[i]
  local header = redis.pcall('GETRANGE', key, '0', '55')
  if header.err then
    -- Some engines put the place in the script before the code of an error.
    local text = string.gsub(tostring(header.err), '^@user_script:%s*%d+:%s*%-?', '')
    return redis.error_reply(string.find(text, 'WRONGTYPE', 1, true) and 'ECORRUPT ' .. key or text)
  end
  local newest, total, head_stamp, head_total, head, count, slots = -1, 0, 0, 0, 0, 0, 0
  if header ~= '' then
    if #header ~= HEADER then return redis.error_reply('ECORRUPT ' .. key) end
    newest, total, head_stamp, head_total, head, count, slots = unpack_doubles('>ddddddd', header)
    if not (newest >= head_stamp and newest <= MOST and total > head_total and slots >= count) then
      return redis.error_reply('ECORRUPT ' .. key)
    end
  end

  local stamp = newest > now and newest or now
  local horizon = stamp - window
  -- The plainest denial, of a call that lacks one unit, needs the rest of the header as little as its records.
  if header ~= '' and (head_stamp <= horizon or stamp < warm_at or total - head_total + cost ~= limit + 1) then
    if not (newest % 1 == 0 and head_stamp % 1 == 0 and total % 1 == 0 and head_total % 1 == 0 and head % 1 == 0
        and count % 1 == 0 and slots % 1 == 0 and newest >= 0 and head_stamp >= 0 and head_total >= 0 and head >= 0
        and count >= 1 and total <= MOST and head <= MOST and slots <= SLOTS_MOST) then
      return redis.error_reply('ECORRUPT ' .. key)
    end
  end
  if newest <= horizon then
    total, head_total, head, count = 0, 0, 0, 0
  elseif head_stamp <= horizon then
    -- The first record that counts, by steps that double and then by halves; the last one does count.
    local dead, live, step, last = head, nil, 1, head + count - 1
    while not live or live - dead > 1 do
      local probe = live and math.floor((dead + live) / 2) or math.min(dead + step, last)
      local slot = HEADER + probe % slots * RECORD
      local text = call('GETRANGE', key, slot, slot + RECORD - 1)
      if probe == dead or #text < RECORD then return redis.error_reply('ECORRUPT ' .. key) end
      local its_stamp, total_before = unpack_doubles('>dd', text)
      if its_stamp > horizon then
        live, head_stamp, head_total = probe, its_stamp, total_before
      else
        dead, step = probe, step * 2
      end
    end
    head, count = live, last + 1 - live
    if not (head_stamp <= newest and head_stamp % 1 == 0 and head_total >= 0 and head_total < total
        and head_total % 1 == 0) then
      return redis.error_reply('ECORRUPT ' .. key)
    end
  end

  local is_cold, in_force = stamp < warm_at, limit
  if is_cold then
    in_force = tonumber(ARGV[3 * i + 3])
    if not (in_force and in_force >= 1 and in_force <= limit and in_force % 1 == 0) then
      return redis.error_reply('EARG cold_limit')
    end
  end
  local used = total - head_total
  if used + cost > in_force then
    local at = head_stamp + window
    if used + cost > in_force + 1 or is_cold then
      -- When what is used and this cost are within a limit: the last record that must end for it is found by halves.
      local function fits_at(most)
        local surplus = used + cost - most
        if surplus <= 0 then return stamp end
        local before, after = head, head + count
        local before_stamp = head_stamp
        while after - before > 1 do
          local middle = math.floor((before + after) / 2)
          local slot = HEADER + middle % slots * RECORD
          local text = call('GETRANGE', key, slot, slot + RECORD - 1)
          if #text < RECORD then return MOST * 4 end
          local middle_stamp, middle_total = unpack_doubles('>dd', text)
          if middle_total < head_total + surplus then
            before, before_stamp = middle, middle_stamp
          else
            after = middle
          end
        end
        return before_stamp + window
      end
      at = fits_at(limit)
      if is_cold then
        at = math.max(at, warm_at)
        if cost <= in_force then at = math.min(at, fits_at(in_force)) end
      end
      if not (at > stamp and at <= MOST * 2 and at % 1 == 0) then return redis.error_reply('ECORRUPT ' .. key) end
    end
    if at - now > longest_wait then
      binding, longest_wait, its_limit, its_used, its_reset = i, at - now, in_force, used, newest + window - now
    end
  elseif binding == 0 then
    views = views or {}
    views[i] = {in_force, used, stamp, total, head_stamp, head_total, head, count, slots, window, limit}
    if count < slots and slots <= limit * 1.25 + 64 and total + cost <= MOST then
      -- There is a free slot for the record.
    else
      strings = strings or {}
      strings[i] = ''
    end
  end
end

if binding > 0 then
  local remaining = its_limit > its_used and its_limit - its_used or 0
  return {0, binding - 1, its_limit, remaining, longest_wait, its_used > 0 and its_reset or 0, now}
end

-- A log that needs a string of more slots, or of fewer, is read and made before anything is written.
for i = 1, strings and logs or 0 do
  if strings[i] then
    local _, used, stamp, total, head_stamp, head_total, head, count, slots, _, limit = unpack(views[i])
    -- The records that count, in order; when totals grow beyond exact numbers, without what came before them.
    local key, records = KEYS[i], ''
    if count > 0 then
      local first = head % slots
      local straight = math.min(count, slots - first)
      records = call('GETRANGE', key, HEADER + first * RECORD, HEADER + (first + straight) * RECORD - 1)
      if straight < count then
        records = records .. call('GETRANGE', key, HEADER, HEADER + (count - straight) * RECORD - 1)
      end
      if #records < count * RECORD then return redis.error_reply('ECORRUPT ' .. key) end
    else
      head_stamp = stamp
    end
    if total + cost > MOST then
      local rebased = {}
      for place = 1, count do
        local its_stamp, total_before = unpack_doubles('>dd', records, (place - 1) * RECORD + 1)
        rebased[place] = struct.pack('>dd', its_stamp, total_before - head_total)
      end
      records, total, head_total = table.concat(rebased), used, 0
    end
    slots = math.min(count + math.floor(count / 4) + SPARE_SLOTS, limit, SLOTS_MOST)
    if slots <= count then return redis.error_reply('OOM a string holds no more records of ' .. key) end
    local text = struct.pack('>ddddddd', stamp, total + cost, head_stamp, head_total, 0, count + 1, slots)
    local free = string.rep('\0', (slots - count - 1) * RECORD)
    strings[i] = text .. records .. struct.pack('>dd', stamp, total) .. free
  end
end

local scarcest, its_remaining
for i = 1, logs do
  local key = KEYS[i]
  local in_force, used, stamp, total, head_stamp, head_total, head, count, slots, window = unpack(views[i])
  local written
  if strings and strings[i] then
    written = redis.pcall('SET', key, strings[i])
  else
    if count == 0 then head_stamp = stamp end
    local slot = HEADER + (head + count) % slots * RECORD
    written = redis.pcall('SETRANGE', key, slot, struct.pack('>dd', stamp, total))
    if written ~= 0 and type(written) == 'number' then
      local text = struct.pack('>ddddddd', stamp, total + cost, head_stamp, head_total, head, count + 1, slots)
      call('SETRANGE', key, '0', text)
    end
  end
  if type(written) == 'table' and written.err then
    return redis.error_reply((string.gsub(tostring(written.err), '^@user_script:%s*%d+:%s*%-?', '')))
  end
  if explicit_clock then
    call('PEXPIRE', key, stamp + window - now + DAY_MS)
  else
    call('PEXPIREAT', key, stamp + window)
  end
  local remaining = in_force - used - cost
  if i == 1 or remaining < its_remaining then
    scarcest, its_remaining, its_limit, its_reset = i, remaining, in_force, stamp + window - now
  end
end
return {1, scarcest - 1, its_limit, its_remaining, 0, its_reset, now}
