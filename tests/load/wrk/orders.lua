-- POST /api/orders: a random product for a random load-test user.
--
--   wrk -t2 -c256 -d30s --latency -s orders.lua http://127.0.0.1:4000 -- USERS PRODUCTS
--
-- USERS are load-1, load-2, ...; PRODUCTS are load-product-1, load-product-2, ...

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
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  local body = string.format(
    '{"order":{"items":["load-product-%d"],"user_id":"load-%d"}}',
    math.random(products), math.random(users)
  )
  return wrk.format("POST", "/api/orders", headers, body)
end
