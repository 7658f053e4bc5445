--[[ audit_chain_append_next: append an event, wherever the chain ends. The engine links and hashes, so that nobody conflicts.

  spec   redstep_spec.audit_chain.append_next
  KEYS   1 records      list of stored records; absent means empty
         2 head         string "<next seq> <base seq> <hash of the last record, hex>"; absent means empty
         3 ids          hash, append id to seq, of the records that this script appended and that are not sealed
  ARGV   1 opening      what each record of the chain begins with: a byte 1, the length of the chain id in two, the chain id
         2 genesis      hash that the first record of the chain links to, 64 hex digits
         3 since        integer >= 0, the next seq of an end that the caller was told before it began to append
         4 previous     hash of the record before since, as it was told, 64 hex digits; of an empty chain 0 and the genesis
         5 append_id    16 bytes
         6 digest       SHA-256 of the event, 32 bytes
         7 event        1 byte to 1 MiB
  reply  {answer, seq, next_seq, base_seq, hash}  answer is 1 appended, 2 already appended, both with seq and hash of the record;
                        3 sealed (the base is beyond since, so that it cannot be told whether the event was appended) and
                        5 regress (the chain does not have that end: it lost records, or was made anew), with seq 0 and the
                        hash of the last
  error  EARG <name>    an argument is missing or out of range
         ECORRUPT <key> head, list, ids and last record disagree, or are of another form
  writes RPUSH, HSET, then SET of the head, unless the append id is known, or the chain was sealed or regressed
  cost   O(1); O(n) at worst for a repetition, and to find what was at since, n = records appended since then
]]
local byte, char, sub, format, rep = string.byte, string.char, string.sub, string.format, string.rep

local function refuse(name) return redis.error_reply('EARG ' .. name) end
local function corrupt(key) return redis.error_reply('ECORRUPT ' .. key) end

-- Some engines put the place in the script before the code of an error.
local function failed(reply, key)
  local text = string.gsub(tostring(reply.err), '^@user_script:%s*%d+:%s*%-?', '')
  if string.find(text, 'WRONGTYPE', 1, true) then return corrupt(key) end
  return redis.error_reply(text)
end

local function integer(text, least)
  if not text or #text > 16 or not string.match(text, '^%d+$') then return nil end
  local number = tonumber(text)
  return number >= least and number <= 2^52 and number or nil
end

local function is_hash(text) return #text == 64 and not string.find(text, '[^0-9a-f]') end
local function hex(hash) return format(rep('%02x', 32), byte(hash, 1, 32)) end

local function bytes_of(number, size)
  local text = ''
  for _ = 1, size do text, number = char(number % 256) .. text, math.floor(number / 256) end
  return text
end

local opening, genesis, since, previous = ARGV[1], ARGV[2], integer(ARGV[3], 0), ARGV[4]
local append_id, digest, event = ARGV[5], ARGV[6], ARGV[7]
if #ARGV ~= 7 then return refuse('event') end
local at = #opening
if at < 4 or byte(opening, 1) ~= 1 or byte(opening, 2) * 256 + byte(opening, 3) ~= at - 3 then return refuse('opening') end
if not is_hash(genesis) then return refuse('genesis') end
if not since then return refuse('since') end
if not is_hash(previous) then return refuse('previous') end
if #append_id ~= 16 then return refuse('append_id') end
if #digest ~= 32 then return refuse('digest') end
if #event < 1 or #event > 1048576 then return refuse('event') end

local function seq_of(record)
  if #record < at + 89 or sub(record, 1, at) ~= opening then return nil end
  local number = 0
  for i = at + 1, at + 8 do number = number * 256 + byte(record, i) end
  return number
end

local function hash_of(record) return sub(record, at + 57, at + 88) end

-- By the length that a record states itself: what is stored in between may be another chain's, or cut short.
local function previous_of(record)
  local version, high, low = byte(record, 1, 3)
  local from = low and 3 + high * 256 + low or #record
  return version == 1 and #record > from + 88 and hex(sub(record, from + 9, from + 40)) or ''
end

local head, length = redis.pcall('GET', KEYS[2]), redis.pcall('LLEN', KEYS[1])
local its_seq = redis.pcall('HGET', KEYS[3], append_id)
if type(head) == 'table' then return failed(head, KEYS[2]) end
if type(length) == 'table' then return failed(length, KEYS[1]) end
if type(its_seq) == 'table' then return failed(its_seq, KEYS[3]) end
local next_seq, base_seq, hash = 0, 0, genesis
if head then
  local next_text, base_text, hash_text = string.match(head, '^(%d+) (%d+) (%x+)$')
  next_seq, base_seq, hash = integer(next_text, 1), integer(base_text, 0), hash_text
  if not next_seq or not base_seq or not is_hash(hash) or base_seq >= next_seq then return corrupt(KEYS[2]) end
end
if length ~= next_seq - base_seq then return corrupt(KEYS[1]) end
local last = length > 0 and redis.call('LINDEX', KEYS[1], -1)
if last and (seq_of(last) ~= next_seq - 1 or hex(hash_of(last)) ~= hash) then return corrupt(KEYS[1]) end

if its_seq then
  its_seq = integer(its_seq, base_seq)
  if not its_seq or its_seq >= next_seq then return corrupt(KEYS[3]) end
  local known = redis.call('LINDEX', KEYS[1], format('%.0f', its_seq - next_seq))
  if #known < at + 89 or sub(known, at + 41, at + 56) ~= append_id then return corrupt(KEYS[3]) end
  return {2, its_seq, next_seq, base_seq, hex(hash_of(known))}
end
if base_seq > since then return {3, 0, next_seq, base_seq, hash} end
local had = hash -- at since, which is where the chain ends if nobody came between
if since < next_seq then had = previous_of(redis.call('LINDEX', KEYS[1], format('%.0f', since - next_seq))) end
if since > next_seq or had ~= previous then return {5, 0, next_seq, base_seq, hash} end

-- SHA-256 (FIPS 180-4), of a few hundred bytes.
local band, bnot, bxor, ror, rshift, tobit = bit.band, bit.bnot, bit.bxor, bit.ror, bit.rshift, bit.tobit
local ROUNDS = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

local function sha256(text)
  local s1, s2, s3, s4 = 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a
  local s5, s6, s7, s8 = 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
  local padded = text .. '\128' .. rep('\0', (55 - #text) % 64) .. bytes_of(8 * #text, 8)
  local w = {}
  for block = 1, #padded, 64 do
    for i = 1, 16 do
      local one, two, three, four = byte(padded, block + 4 * i - 4, block + 4 * i - 1)
      w[i] = tobit(((one * 256 + two) * 256 + three) * 256 + four)
    end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      local mixed = bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
      w[i] = tobit(w[i - 16] + w[i - 7] + mixed)
    end
    local a, b, c, d, e, f, g, h = s1, s2, s3, s4, s5, s6, s7, s8
    for i = 1, 64 do
      local one = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + ROUNDS[i] + w[i]
      local two = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
      a, b, c, d, e, f, g, h = tobit(one + two), a, b, c, tobit(d + one), e, f, g
    end
    s1, s2, s3, s4 = tobit(s1 + a), tobit(s2 + b), tobit(s3 + c), tobit(s4 + d)
    s5, s6, s7, s8 = tobit(s5 + e), tobit(s6 + f), tobit(s7 + g), tobit(s8 + h)
  end
  local sum = ''
  for _, word in ipairs({s1, s2, s3, s4, s5, s6, s7, s8}) do sum = sum .. bytes_of(word % 2^32, 4) end
  return sum
end

local link = last and hash_of(last) or string.gsub(genesis, '%x%x', function(two) return char(tonumber(two, 16)) end)
local header = opening .. bytes_of(next_seq, 8) .. link .. append_id
local its_hash = sha256('redstep.audit-chain\0\1' .. header .. digest)
local its_hex = hex(its_hash)
redis.call('RPUSH', KEYS[1], header .. its_hash .. event)
redis.call('HSET', KEYS[3], append_id, format('%.0f', next_seq))
redis.call('SET', KEYS[2], format('%.0f %.0f %s', next_seq + 1, base_seq, its_hex))
return {1, next_seq, next_seq + 1, base_seq, its_hex}
