-- POST /events, one event a request.
-- Usage: ROWLOCK_EVENTS_TOKEN=… wrk -s events.lua URL
local token = os.getenv("ROWLOCK_EVENTS_TOKEN") or "development-events-token"
local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. token }

function init()
  math.randomseed(os.time())
end

function request()
  local id = math.random(1000000)
  local body = '{"name":"order.approved","subject":"order:' .. id .. '","payload":{"order_id":'
    .. id .. ',"user_id":7,"amount":100,"balance_after":900}}'
  return wrk.format("POST", "/events", headers, body)
end
