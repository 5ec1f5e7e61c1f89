-- POST /transfers: from a random one of many users, to another one or to few.
--
--   wrk -t2 -c256 -d30s --latency -s transfers.lua http://127.0.0.1:4000 -- FIRST_ID LAST_ID TARGETS
--
-- The ids are those of users. The first TARGETS of them get the money; without it, all may.

local threads = 0

function setup(thread)
  thread:set("seed", os.time() * 1000 + threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(seed)
  first = tonumber(args[1]) or 1
  last = tonumber(args[2]) or 100000
  last_target = tonumber(args[3]) and first + tonumber(args[3]) - 1 or last
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  local target = math.random(first, last_target)
  local source = math.random(first, last - 1)
  if source >= target then
    source = source + 1
  end
  local body = string.format(
    '{"from_user_id":%d,"to_user_id":%d,"amount":1,"label":"Lunch"}', source, target
  )
  return wrk.format("POST", "/transfers", headers, body)
end
