-- POST /invoices: an invoice for a random one of many users.
--
--   wrk -t2 -c256 -d30s --latency -s invoices.lua http://127.0.0.1:4000 -- FIRST_ID LAST_ID
--
-- The ids are those of users.

local threads = 0

function setup(thread)
  thread:set("seed", os.time() * 1000 + threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(seed)
  first = tonumber(args[1]) or 1
  last = tonumber(args[2]) or 100000
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  local body = string.format(
    '{"user_id":%d,"amount":11350,"label":"Work for April"}', math.random(first, last)
  )
  return wrk.format("POST", "/invoices", headers, body)
end
