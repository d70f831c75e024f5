-- Asks what the generated nginx configuration asks about a browser's request, with tokens in rotation, one a line in
-- the file BENCH_TOKENS. BENCH_PATH is the endpoint. The questions are ready before the clock starts, so that wrk does
-- not become the bottleneck: each has an id of its own, as nginx gives it, and one of a hundred targets.
local QUESTIONS = 2000
local questions, at = {}, 0

function init()
  local tokens = {}
  for token in io.lines(os.getenv("BENCH_TOKENS")) do
    tokens[#tokens + 1] = token
  end
  for number = 1, QUESTIONS do
    questions[number] = wrk.format("GET", os.getenv("BENCH_PATH"), {
      ["Host"] = "app.example",
      ["X-Original-Method"] = "GET",
      ["X-Original-URI"] = "/api/items?page=" .. number % 100,
      ["X-Forwarded-For"] = "203.0.113.7",
      ["X-Forwarded-Proto"] = "https",
      ["X-Request-Id"] = string.format("%032x", number),
      ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
      ["Accept"] = "application/json",
      ["Accept-Encoding"] = "gzip, deflate, br",
      ["Accept-Language"] = "en-GB,en;q=0.9",
      ["Referer"] = "https://app.example/",
      ["Sec-Fetch-Site"] = "same-origin",
      ["Sec-Fetch-Mode"] = "cors",
      ["Sec-Fetch-Dest"] = "empty",
      ["Cookie"] = "theme=dark",
      ["Authorization"] = "Bearer " .. tokens[number % #tokens + 1],
    })
  end
end

function request()
  at = at % QUESTIONS + 1
  return questions[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d\n", summary.requests, latency:percentile(50),
    latency:percentile(99), errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
