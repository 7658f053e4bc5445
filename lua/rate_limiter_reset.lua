--[[ rate_limiter_reset: forget what was admitted, and with it the time of the logs.

  spec   redstep_spec.rate_limiter.reset
  KEYS   * log          one for each limit, of either representation
  ARGV   none
  reply  {1}            whether there was something to forget cannot be told, for what is dead may be gone already
  error  none
  writes UNLINK on every log
  cost   O(1) a limit; the memory is freed in the background
]]
redis.call('UNLINK', unpack(KEYS))
return {1}
