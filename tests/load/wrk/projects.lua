-- GET /projects?page=: a random page of many.
--
--   ROWLOCK_PROJECTS_TOKEN=… wrk -t2 -c256 -d30s --latency -s projects.lua \
--     http://127.0.0.1:3000 -- PAGES

local threads = 0

function setup(thread)
  thread:set("seed", os.time() * 1000 + threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(seed)
  pages = tonumber(args[1]) or 1
  local token = os.getenv("ROWLOCK_PROJECTS_TOKEN") or "development-projects-token"
  headers = { ["Authorization"] = "Bearer " .. token }
end

function request()
  return wrk.format("GET", "/projects?page=" .. math.random(pages), headers)
end
