"""Programs that run inside Redis, in Lua. https://redis.io/docs/latest/develop/programmability/eval-intro/

Keys of a channel:

* meta, a hash: `e` epoch, `r` run_id of the server that made it, `s` newest offset, `z` size, `t` ttl. After the time
  `x` the next publication prolongs the life of the keys. Times are in milliseconds;
* stream: publications with `t` time and `d` envelope, under ids `OFFSET-0`;
* id: `OFFSET:TIME:EPOCH` of the publication that has it.

The first argument is the run_id of the server, or "" if its files are never older than what it promised. The second is
the time in milliseconds, or "" for that of the server.
"""

from __future__ import annotations

from typing import Final

from trunkline.realtime.brokers.redis.commands import Script

__all__ = ["HISTORY", "PUBLISH", "REMOVE", "SCRIPTS"]

CLOCK: Final = """
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

# KEYS: meta, stream, id or meta
# ARGV: run_id, now, size, ttl, envelope, channel of the messages, new epoch, ttl of the id or "", idle
# Returns: offset, epoch, time
PUBLISH: Final = Script(
    CLOCK
    + """
if ARGV[8] ~= '' then
  local known = redis.call('GET', KEYS[3])
  if known then
    local offset, time, epoch = string.match(known, '^(%d+):(%d+):(.*)$')
    if time + ARGV[8] > now then return {tonumber(offset), epoch, tonumber(time)} end
  end
end
local ttl = tonumber(ARGV[4])
local meta = redis.call('HMGET', KEYS[1], 'e', 'r', 's', 'x', 't', 'z')
local epoch, top, due = meta[1], tonumber(meta[3]), tonumber(meta[4])
if not epoch or (ARGV[1] ~= '' and meta[2] ~= ARGV[1]) then
  redis.call('DEL', KEYS[1], KEYS[2])
  epoch, top, due = ARGV[7], 0, nil
end
top = top + 1
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], string.format('%.0f-0', top), 't', now, 'd', ARGV[5])
if due and due > now and meta[5] == ARGV[4] and meta[6] == ARGV[3] then
  redis.call('HSET', KEYS[1], 's', top)
else
  due = now + math.floor(math.min(ttl, ARGV[9]) / 4)
  redis.call('HSET', KEYS[1], 'e', epoch, 'r', ARGV[1], 's', top, 'z', ARGV[3], 't', ARGV[4], 'x', due)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(ttl * 2, ARGV[9])))
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', ttl * 1.5 + 1000))
end
local head = string.format('%.0f:%.0f:', top, now) .. epoch
if ARGV[8] ~= '' then redis.call('SET', KEYS[3], head, 'PX', ARGV[8]) end
redis.call('PUBLISH', ARGV[6], head .. ':' .. ARGV[5])
return {top, epoch, now}
"""
)

# KEYS: meta, stream
# ARGV: run_id, now, since or "", limit or "", "1" if reverse, new epoch, idle, "1" to give it to a channel without one
# Returns: epoch or "", newest offset, offset up to which publications are forgotten, size, ttl, entries of the stream
HISTORY: Final = Script(
    CLOCK
    + """
local meta = redis.call('HMGET', KEYS[1], 'e', 'r', 's', 'z', 't')
local epoch, top, size, ttl = meta[1], tonumber(meta[3]), tonumber(meta[4] or 0), tonumber(meta[5] or 0)
if not epoch and ARGV[8] ~= '1' then return {'', 0, 0, 0, 0, {}} end
if not epoch or (ARGV[1] ~= '' and meta[2] ~= ARGV[1]) then
  redis.call('DEL', KEYS[1], KEYS[2])
  epoch, top, size, ttl = ARGV[6], 0, 0, 0
  redis.call('HSET', KEYS[1], 'e', epoch, 'r', ARGV[1], 's', 0)
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
end

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end
local function expired(entry) return tonumber(entry[2][2]) <= now - ttl end

local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
while oldest and expired(oldest) do
  local last
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 100)) do
    if not expired(entry) then break end
    last = entry
  end
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', offset_of(last) + 1))
  oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
end
local base = oldest and offset_of(oldest) - 1 or top

local found = {}
if ARGV[4] ~= '0' and base < top then
  local count = ARGV[4] == '' and {} or {'COUNT', ARGV[4]}
  local edge = ARGV[3] ~= '' and '(' .. ARGV[3] .. '-0'
  if ARGV[5] == '1' then
    found = redis.call('XREVRANGE', KEYS[2], edge or '+', '-', unpack(count))
  else
    found = redis.call('XRANGE', KEYS[2], edge or '-', '+', unpack(count))
  end
end
return {epoch, top, base, size, ttl, found}
"""
)

# KEYS: meta, stream
# ARGV: run_id, now, channel of the messages, envelope that says that the history was removed
REMOVE: Final = Script(
    """
redis.call('DEL', KEYS[2])
local meta = redis.call('HMGET', KEYS[1], 'e', 's')
if meta[1] then
  redis.call('HDEL', KEYS[1], 'x')
  redis.call('PUBLISH', ARGV[3], meta[2] .. ':0:' .. meta[1] .. ':' .. ARGV[4])
end
return 1
"""
)

SCRIPTS: Final = (PUBLISH, HISTORY, REMOVE)
