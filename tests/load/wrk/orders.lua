-- POST /api/orders: a random product for a random load-test user.
--
--   wrk -t2 -c256 -d30s --latency -s orders.lua http://127.0.0.1:4000 -- USERS PRODUCTS [KEYED]
--
-- USERS are load-1, load-2, ...; PRODUCTS are load-product-1, load-product-2, ...
-- With KEYED 1, every request has an Idempotency-Key of its own.

local threads = 0

function setup(thread)
  -- Every thread and every run draws other numbers: a product can be bought only once.
  thread:set("seed", os.time() * 1000 + threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(seed)
  users = tonumber(args[1]) or 100000
  products = tonumber(args[2]) or 1000
  keyed = args[3] == "1"
  sent = 0
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  local body = string.format(
    '{"order":{"items":["load-product-%d"],"user_id":"load-%d"}}',
    math.random(products), math.random(users)
  )
  if keyed then
    sent = sent + 1
    headers["Idempotency-Key"] = seed .. "-" .. sent
  end
  return wrk.format("POST", "/api/orders", headers, body)
end
