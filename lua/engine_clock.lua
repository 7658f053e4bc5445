--[[ engine_clock: what time is it, on the clock that decides?

  spec   redstep_spec.rate_limiter.Region
  KEYS   none
  ARGV   1 now_ms       integer >= 0; "" reads the engine's clock
  reply  {now_ms}
  error  EARG <name>    an argument is missing, no integer or out of range
  writes nothing
  cost   O(1)
]]
local text = ARGV[1]
if text == '' then
  local time = redis.call('TIME')
  return {time[1] * 1000 + math.floor(time[2] / 1000)}
end
if not text or #text > 16 or not string.match(text, '^%d+$') or tonumber(text) > 2^52 then
  return redis.error_reply('EARG now_ms')
end
return {tonumber(text)}
