--[[ audit_chain_append: do these records, linked one after the other, extend the chain? If so, append all of them.

  spec   redstep_spec.audit_chain.append
  KEYS   1 records      list of stored records; absent means empty
         2 head         string "<next seq> <base seq> <hash of the last record, hex>"; absent means empty
  ARGV   1 opening      what each record of the chain begins with: a byte 1, the length of the chain id in two, the chain id
         2 genesis      hash that the first record of the chain links to, 64 hex digits
         3 seq          integer >= 0, of the first record given
         4 previous     hash that it links to, 64 hex digits
         5 hash         of the last record given, 64 hex digits; what it covers is the caller's word, for Redis has no SHA-256
         6 base_seq     integer >= 0, as the caller remembers it: a hint, which saves time when it is right
         7 count        integer, 1 to 500
         * record       opening, seq in 8 bytes, previous hash in 32, append id in 16, hash in 32, event; big-endian. All events
                        together have 1 MiB at most
  reply  {answer, next_seq, base_seq, hash}  of the chain as it is now; answer is 1 appended, 2 already appended, 3 sealed (they
                        belong below the base, so that it cannot be told whether they were appended), 4 hash mismatch (others
                        were appended first), 5 regress (the chain never had the end that they link to, or lost it)
  error  EARG <name>    an argument is missing, out of range, or at odds with another
         ECORRUPT <key> head, list and last record disagree, or are of another form
  writes RPUSH, then SET of the head, when the records extend the chain
  cost   O(count); a repetition O(n) at worst, n = records appended since
]]
local EVENTS_MOST = 1048576
local sub, byte, call, pcall = string.sub, string.byte, redis.call, redis.pcall
local opening, seq, previous, hash, base_hint = ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local count, i = tonumber(ARGV[7]), 1
local record = ARGV[1 * i + 7]
if not count or count < 1 or count > 500 or #ARGV ~= 7 + 1 * count then return redis.error_reply('EARG count') end

local at = #opening
local _, b, c, d, e, f, g, h = byte(record, at + 1, at + 8)
if #record < at + 89 or #record > at + 88 + EVENTS_MOST then return redis.error_reply('EARG record') end
local first = (((((b * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 256 + g) * 256 + h

-- Each append pays for this: eight numbers are spelled in a third of the time that 32 take.
local function hex(hash)
  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, y1, y2, y3, z1, z2, z3 = byte(hash, 1, 32)
  return string.format(
    '%08x%08x%08x%08x%08x%08x%08x%08x',
    ((a * 256 + b) * 256 + c) * 256 + d, ((e * 256 + f) * 256 + g) * 256 + h,
    ((i * 256 + j) * 256 + k) * 256 + l, ((m * 256 + n) * 256 + o) * 256 + p,
    ((q * 256 + r) * 256 + s) * 256 + t, ((u * 256 + v) * 256 + w) * 256 + x,
    ((y * 256 + z) * 256 + y1) * 256 + y2, ((y3 * 256 + z1) * 256 + z2) * 256 + z3
  )
end

local records, head_key = KEYS[1], KEYS[2]
local head, length, last = pcall('GET', head_key), pcall('LLEN', records), pcall('LINDEX', records, -1)

-- What extends the chain as its caller remembers it: these comparisons prove all that is proved below, for less.
local extends = last and #last > at and head == seq .. ' ' .. base_hint .. ' ' .. previous and length == first - base_hint
  and sub(last, 1, at + 7) == sub(record, 1, at + 7) and byte(last, at + 8) + 1 == h
  and sub(last, at + 57, at + 88) == sub(record, at + 9, at + 40)
local link = sub(record, at + 57, at + 88)
if extends and count > 1 then
  local start, events = sub(record, 1, at), #record - at - 88
  for i = 2, count do
    local one = ARGV[1 * i + 7]
    _, b, c, d, e, f, g, h = byte(one, at + 1, at + 8)
    extends = extends and #one > at + 88 and sub(one, 1, at) == start and sub(one, at + 9, at + 40) == link
      and first + i - 1 == (((((b * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 256 + g) * 256 + h
    link, events = sub(one, at + 57, at + 88), events + #one - at - 88
  end
  extends = extends and events <= EVENTS_MOST
end
extends = extends and hash == hex(link)
local base_seq = base_hint

if not extends then
  local function refuse(name) return redis.error_reply('EARG ' .. name) end
  local function corrupt(key) return redis.error_reply('ECORRUPT ' .. key) end

  -- Some engines put the place in the script before the code of an error.
  local function failed(reply, key)
    local text = string.gsub(tostring(reply.err), '^@user_script:%s*%d+:%s*%-?', '')
    if string.find(text, 'WRONGTYPE', 1, true) then return corrupt(key) end
    return redis.error_reply(text)
  end

  local function integer(text)
    if not string.match(text, '^%d+$') or #text > 16 then return nil end
    local number = tonumber(text)
    return number < 2^52 and number or nil
  end

  local function seq_of(one)
    if #one < at + 89 or sub(one, 1, at) ~= opening then return nil end
    local bytes = {byte(one, at + 1, at + 8)}
    local number = 0
    for i = 1, 8 do number = number * 256 + bytes[i] end
    return number < 2^52 and number or nil
  end

  local function is_hash(text) return #text == 64 and not string.find(text, '[^0-9a-f]') end
  -- By the length that a record states itself: what is stored in between may be another chain's, or cut short.
  local function part(one, first, last)
    local version, high, low = byte(one, 1, 3)
    local from = low and 3 + high * 256 + low or #one
    return version == 1 and #one > from + 88 and sub(one, from + first, from + last) or ''
  end
  local function previous_of(one) return part(one, 9, 40) end
  local function hash_of(one) return part(one, 57, 88) end

  if at < 4 or byte(opening, 1) ~= 1 or byte(opening, 2) * 256 + byte(opening, 3) ~= at - 3 then return refuse('opening') end
  if not is_hash(ARGV[2]) then return refuse('genesis') end
  if not integer(base_hint) then return refuse('base_seq') end
  local events, first_record = 0, record
  for i = 1, count do
    local one = ARGV[1 * i + 7]
    local its_seq = seq_of(one)
    if not its_seq or its_seq ~= first + i - 1 then return refuse('record') end
    if i > 1 and previous_of(one) ~= hash_of(record) then return refuse('record') end
    events, record = events + #one - at - 88, one
  end
  if events > EVENTS_MOST then return refuse('record') end
  if integer(seq) ~= first then return refuse('seq') end
  if hex(previous_of(first_record)) ~= previous then return refuse('previous') end
  if hex(hash_of(record)) ~= hash then return refuse('hash') end

  if type(head) == 'table' then return failed(head, head_key) end
  if type(length) == 'table' then return failed(length, records) end
  if type(last) == 'table' then return failed(last, records) end
  local next_seq, base, end_hash = 0, 0, ARGV[2]
  if head then
    local texts = {string.match(head, '^(%d+) (%d+) (%x+)$')}
    next_seq, base, end_hash = integer(texts[1] or ''), integer(texts[2] or ''), texts[3]
    if not next_seq or not base or not is_hash(end_hash) or base >= next_seq then return corrupt(head_key) end
  end
  if length ~= next_seq - base then return corrupt(records) end
  if last and (seq_of(last) ~= next_seq - 1 or hex(hash_of(last)) ~= end_hash) then return corrupt(records) end

  if first ~= next_seq or previous ~= end_hash then
    local function stored_at(its_seq)
      if its_seq < base or its_seq >= next_seq then return '' end
      return call('LINDEX', records, string.format('%.0f', its_seq - next_seq))
    end
    local answer = first < base and 3 or 5
    local rival, known = stored_at(first), stored_at(first + count - 1)
    if rival ~= '' and previous_of(rival) == previous_of(first_record) then answer = 4 end
    if known ~= '' and hash_of(known) == hash_of(record) then answer = 2 end
    return {answer, next_seq, base, end_hash}
  end
  base_seq = string.format('%.0f', base)
end

if count == 1 then call('RPUSH', records, record) else call('RPUSH', records, unpack(ARGV, 8)) end
local next_seq = first + count
call('SET', head_key, string.format('%.0f', next_seq) .. ' ' .. base_seq .. ' ' .. hash)
return {1, next_seq, base_seq + 0, hash}
