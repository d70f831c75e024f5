-- Sends requests with tokens in rotation, one a line in the file BENCH_TOKENS, and tells how it went.
-- BENCH_PATH is what is asked for; BENCH_BODY, bytes that go up with it.
local requests, at = {}, 0

function init()
  local size = tonumber(os.getenv("BENCH_BODY") or "0")
  local method, body = "GET", nil
  if size > 0 then
    method, body = "POST", string.rep("a", size)
  end
  for token in io.lines(os.getenv("BENCH_TOKENS")) do
    requests[#requests + 1] = wrk.format(method, os.getenv("BENCH_PATH"), {
      ["Host"] = "app.example",
      ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
      ["Accept"] = "application/json",
      ["Accept-Encoding"] = "gzip, deflate, br",
      ["Authorization"] = "Bearer " .. token,
    }, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d\n", summary.requests, latency:percentile(50),
    latency:percentile(99), errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
