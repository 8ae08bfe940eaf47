-- What wrk sends, and its summary as one line of JSON. STREAM=1 asks for a stream.
local stream = os.getenv("STREAM") == "1"
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"model":"' .. os.getenv("MODEL") .. '","messages":[{"role":"user","content":"' .. string.rep("Tell me a joke. ", 16)
  .. '"}],"max_tokens":64,"temperature":0.7,"stream":' .. tostring(stream) .. '}'

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\n{"requests":%d,"seconds":%f,"p50Ms":%f,"p99Ms":%f,"failures":%d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
