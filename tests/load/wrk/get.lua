-- GET of a random one of many: PREFIX and a number from FIRST to LAST.
--
--   wrk -t2 -c256 -d30s --latency -s get.lua http://127.0.0.1:4000 -- /user/ 1 100000
--
-- PREFIX: /user/, /orders/, /invoices/, ...; with FIRST = LAST it is always the same.

local threads = 0

function setup(thread)
  thread:set("seed", os.time() * 1000 + threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(seed)
  prefix = args[1] or "/user/"
  first = tonumber(args[2]) or 1
  last = tonumber(args[3]) or 100000
end

function request()
  return wrk.format("GET", prefix .. math.random(first, last))
end
