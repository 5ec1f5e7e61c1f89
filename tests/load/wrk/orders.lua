-- POST /api/orders: a random product for a random load-test user.
--
--   wrk -t2 -c256 -d30s --latency -s orders.lua http://127.0.0.1:4000 -- USERS [PRODUCTS [KEYED]]
--
-- USERS are load-1, load-2, ...; PRODUCTS are load-product-1, load-product-2, ... as the benchmark
-- loads them. Without PRODUCTS it is one of the demo catalogue; a user who owns it gets a 400.
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
  products = tonumber(args[2])
  keyed = args[3] == "1"
  sent = 0
  headers = { ["Content-Type"] = "application/json" }
end

local catalogue = {
  "netflix", "spotify", "amazon-prime", "disney-plus", "apple-music", "youtube-premium", "audible",
  "gym", "lunch", "bike",
}

local function product()
  if products then
    return "load-product-" .. math.random(products)
  end
  return catalogue[math.random(#catalogue)]
end

function request()
  local body = string.format(
    '{"order":{"items":["%s"],"user_id":"load-%d"}}', product(), math.random(users)
  )
  if keyed then
    sent = sent + 1
    headers["Idempotency-Key"] = seed .. "-" .. sent
  end
  return wrk.format("POST", "/api/orders", headers, body)
end
