-- POST /orders, three items each, by random users.
-- Usage: wrk -s create_orders.lua URL -- FIRST_USER LAST_USER PRODUCTS
local first, last, products

function init(arguments)
  first, last, products = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
  math.randomseed(os.time())
end

local headers = { ["Content-Type"] = "application/json" }

local function item()
  return '{"productId":' .. math.random(products) .. ',"quantity":' .. math.random(3) .. "}"
end

function request()
  local body = '{"items":[' .. item() .. "," .. item() .. "," .. item() .. '],"userId":'
    .. math.random(first, last) .. "}"
  return wrk.format("POST", "/orders", headers, body)
end
