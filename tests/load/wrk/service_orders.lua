-- POST /service-orders: at a random millisecond of the DAYS from the year 2100 on.
--
--   wrk -t2 -c256 -d30s --latency -s service_orders.lua http://127.0.0.1:4000 -- DAYS
--
-- With many days (2500000) nearly all find a free time: 201. With 7, the week is soon full, and
-- nearly all are refused, each with the nearest free times: 409, which wrk counts as non-2xx.
-- Needs the demo data.

local threads = 0

function setup(thread)
  thread:set("seed", os.time() * 1000 + threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(seed)
  days = tonumber(args[1]) or 2500000
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  local at = os.date("!%Y-%m-%dT%H:%M:%S", 4102444800 + math.random(0, days - 1) * 86400
    + math.random(0, 86399))
  local body = string.format(
    '{"datetime":"%s.%03dZ","totalfee":100,"services":["123"]}', at, math.random(0, 999)
  )
  return wrk.format("POST", "/service-orders", headers, body)
end
