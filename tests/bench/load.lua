-- Sends requests with tokens in rotation, one a line in the file BENCH_TOKENS, and tells how it went.
local requests, at = {}, 0

function init()
  for token in io.lines(os.getenv("BENCH_TOKENS")) do
    requests[#requests + 1] = wrk.format("GET", "/api/items?page=1", {
      ["Host"] = "app.example",
      ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
      ["Accept"] = "application/json",
      ["Accept-Encoding"] = "gzip, deflate, br",
      ["Authorization"] = "Bearer " .. token,
    })
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("RESULT %d %d %d %d\n", summary.requests, bad, latency:percentile(50), latency:percentile(99)))
end
