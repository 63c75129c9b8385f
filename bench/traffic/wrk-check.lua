-- For wrk: compares each page with a file, and prints the measured values as one line of JSON. Arguments: FILE.
local page
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  page = file:read("*a")
  file:close()
  wrong = 0
end

function response(status, _, body)
  if status ~= 200 or body ~= page then
    wrong = wrong + 1
  end
end

function done(summary, latency)
  local bad = 0
  for _, thread in ipairs(threads) do
    bad = bad + thread:get("wrong")
  end
  local errors = summary.errors
  print(string.format('wrk-result {"requests":%d,"microseconds":%d,"wrong":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50":%.0f,"p99":%.0f,"p99.9":%.0f}',
    summary.requests, summary.duration, bad,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
