--[[ audit_chain_seal: remove the records below a seq, which have been exported; the newest stay.

  spec   redstep_spec.audit_chain.seal
  KEYS   1 records      list of stored records; absent means empty
         2 head         string "<next seq> <base seq> <hash of the last record, hex>"; absent means empty
         3 ids          hash, append id to seq, of records that audit_chain_append_next appended; absent means none
  ARGV   1 opening      what each record of the chain begins with: a byte 1, the length of the chain id in two, the chain id
         2 upto         integer >= 0, the seq that is to be the base
         3 keep         integer >= 1: how many records are to stay at least
  reply  {answer, next_seq, base_seq, hash}  of the chain as it is now; answer is 1 all below upto are gone, 2 some still are
                        there (ask again), 3 refused, for too few would stay. No chain is 0, 0 and ""
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> head, list and last record disagree, or are of another form
  writes LTRIM, HDEL of their append ids, then SET of the head, when there is something to remove; the first frees memory, on
                        purpose: a full engine must let go of records
  cost   O(n), n = records removed, 1000 at most
]]
local REMOVED_MOST, CHUNK = 1000, 64

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

local function text_of(number) return string.format('%.0f', number) end

local opening, upto, keep = ARGV[1], integer(ARGV[2], 0), integer(ARGV[3], 1)
if not opening or #opening < 4 then return refuse('opening') end
if not upto then return refuse('upto') end
if not keep then return refuse('keep') end

local at = #opening
local function seq_of(record)
  if #record < at + 89 or string.sub(record, 1, at) ~= opening then return nil end
  local number = 0
  for i = at + 1, at + 8 do number = number * 256 + string.byte(record, i) end
  return number
end

local function hash_of(record)
  return (string.gsub(string.sub(record, at + 57, at + 88), '.', function(one) return string.format('%02x', string.byte(one)) end))
end

local head, length = redis.pcall('GET', KEYS[2]), redis.pcall('LLEN', KEYS[1])
local known = redis.pcall('HLEN', KEYS[3])
if type(head) == 'table' then return failed(head, KEYS[2]) end
if type(length) == 'table' then return failed(length, KEYS[1]) end
if type(known) == 'table' then return failed(known, KEYS[3]) end
local next_seq, base_seq, hash = 0, 0, ''
if head then
  local next_text, base_text, hash_text = string.match(head, '^(%d+) (%d+) ([0-9a-f]+)$')
  next_seq, base_seq, hash = integer(next_text, 1), integer(base_text, 0), hash_text
  if not next_seq or not base_seq or #hash ~= 64 or base_seq >= next_seq then return corrupt(KEYS[2]) end
end
if length ~= next_seq - base_seq then return corrupt(KEYS[1]) end
local last = length > 0 and redis.call('LINDEX', KEYS[1], -1)
if last and (seq_of(last) ~= next_seq - 1 or hash_of(last) ~= hash) then return corrupt(KEYS[1]) end

if upto <= base_seq then return {1, next_seq, base_seq, hash} end
if upto > next_seq - keep then return {3, next_seq, base_seq, hash} end

local removed = math.min(upto - base_seq, REMOVED_MOST)
local ids = {}
if known > 0 then
  for first = 0, removed - 1, CHUNK do
    for _, record in ipairs(redis.call('LRANGE', KEYS[1], first, math.min(first + CHUNK, removed) - 1)) do
      ids[#ids + 1] = string.sub(record, at + 41, at + 56)
    end
  end
end

redis.call('LTRIM', KEYS[1], removed, -1)
if #ids > 0 then redis.call('HDEL', KEYS[3], unpack(ids)) end
base_seq = base_seq + removed
redis.call('SET', KEYS[2], text_of(next_seq) .. ' ' .. text_of(base_seq) .. ' ' .. hash)
return {base_seq == upto and 1 or 2, next_seq, base_seq, hash}
