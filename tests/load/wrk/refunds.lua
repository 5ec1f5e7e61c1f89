-- POST /orders/{id}/refunds: of every order from FIRST_ID on all that it cost, once.
--
--   wrk -t2 -c256 -d30s --latency -s refunds.lua http://127.0.0.1:4000 -- FIRST_ID THREADS
--
-- THREADS is that of -t: thread 0 of 2 refunds FIRST_ID, FIRST_ID + 2, ...; thread 1 the others.

local threads = 0

function setup(thread)
  thread:set("index", threads)
  threads = threads + 1
end

function init(args)
  stride = tonumber(args[2]) or 1
  id = (tonumber(args[1]) or 1) + index - stride
end

function request()
  id = id + stride
  return wrk.format("POST", string.format("/orders/%d/refunds", id))
end
