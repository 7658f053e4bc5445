--[[ audit_chain_read: where does the chain stand, and what is stored from a position on?

  spec   redstep_spec.audit_chain.read
  KEYS   1 records      list of stored records; absent means empty
         2 head         string "<next seq> <base seq> <hash of the last record, hex>"; absent means empty
  ARGV   1 from         integer >= 0: base seq + place in the list, which is the seq where nothing is broken; what is below the
                        base is taken for the base
         2 count        integer, 0 to 500: how many records at most
         3 bytes        integer >= 0: how long the page may be, if it holds more than one record
  reply  {next_seq, base_seq, hash, length, from, page}  length of the list; from where the page is; of each of its records, the
                        length in 4 bytes, big-endian, and the record. No head is next_seq 0, base_seq 0 and hash ""
  error  EARG <name>    an argument is missing, no integer or out of range
         ECORRUPT <key> a key holds something else than a list, or a head of this form
  writes nothing
  cost   O(count), and O(n) to find the first, n = records between it and the nearer end
]]
local CHUNK = 64 -- records are read a few at a time, for each may have 1 MiB

local function refuse(name) return redis.error_reply('EARG ' .. name) end
local function corrupt(key) return redis.error_reply('ECORRUPT ' .. key) end

-- Some engines put the place in the script before the code of an error.
local function failed(reply, key)
  local text = string.gsub(tostring(reply.err), '^@user_script:%s*%d+:%s*%-?', '')
  if string.find(text, 'WRONGTYPE', 1, true) then return corrupt(key) end
  return redis.error_reply(text)
end

local function integer(text, most)
  if not text or #text > 16 or not string.match(text, '^%d+$') then return nil end
  local number = tonumber(text)
  return number <= most and number or nil
end

local from, count, bytes = integer(ARGV[1], 2^52), integer(ARGV[2], 500), integer(ARGV[3], 2^52)
if not from then return refuse('from') end
if not count then return refuse('count') end
if not bytes then return refuse('bytes') end

local head, length = redis.pcall('GET', KEYS[2]), redis.pcall('LLEN', KEYS[1])
if type(head) == 'table' then return failed(head, KEYS[2]) end
if type(length) == 'table' then return failed(length, KEYS[1]) end
local next_seq, base_seq, hash = 0, 0, ''
if head then
  local next_text, base_text, hash_text = string.match(head, '^(%d+) (%d+) ([0-9a-f]+)$')
  next_seq, base_seq, hash = integer(next_text, 2^52), integer(base_text, 2^52), hash_text
  if not next_seq or not base_seq or #hash ~= 64 then return corrupt(KEYS[2]) end
end

from = math.max(from, base_seq)
local first, page, size, full = from - base_seq, {}, 0, false
local past = math.min(first + count, length)
while first < past and not full do
  local chunk = redis.call('LRANGE', KEYS[1], first, math.min(first + CHUNK, past) - 1)
  for _, record in ipairs(chunk) do
    size = size + 4 + #record
    full = full or (size > bytes and #page > 0)
    if not full then
      local high, low = math.floor(#record / 65536), #record % 65536
      page[#page + 1] = string.char(math.floor(high / 256), high % 256, math.floor(low / 256), low % 256) .. record
    end
  end
  first = first + CHUNK
end
return {next_seq, base_seq, hash, length, from, table.concat(page)}
