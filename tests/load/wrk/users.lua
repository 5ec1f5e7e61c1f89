-- GET /user/{id}: a random one of many users.
--
--   wrk -t2 -c256 -d30s --latency -s users.lua http://127.0.0.1:4000 -- FIRST_ID LAST_ID

local threads = 0

function setup(thread)
  thread:set("seed", os.time() * 1000 + threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(seed)
  first = tonumber(args[1]) or 1
  last = tonumber(args[2]) or 100000
end

function request()
  return wrk.format("GET", "/user/" .. math.random(first, last))
end
