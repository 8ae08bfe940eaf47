-- What wrk sends, and its summary as one line of JSON. From the environment: MODEL; BYTES of the body; CHUNKS, for a stream of that
-- many; OTHERS, "first-last": one request in twenty asks for one of these steps of MODEL instead.
local bytes, chunks = tonumber(os.getenv("BYTES")), tonumber(os.getenv("CHUNKS"))
local model, others = os.getenv("MODEL"), os.getenv("OTHERS")
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["content-type"] = "application/json"

local function body(name, prompt)
  return '{"model":"' .. name .. '","messages":[{"role":"user","content":"' .. prompt .. '"}],"max_tokens":'
    .. (chunks > 0 and chunks or 64) .. ',"temperature":0.7,"stream":' .. tostring(chunks > 0) .. '}'
end
local words = string.rep("Tell me a joke. ", math.ceil(bytes / 16))
wrk.body = body(model, string.sub(words, 1, bytes - #body(model, "")))

if others then
  local first, last = string.match(others, "(%d+)-(%d+)")
  local ready, cold, count = nil, {}, 0
  function init()
    ready = wrk.format()
    for step = tonumber(first), tonumber(last) do
      local name = string.gsub(model, "@.*", "@" .. step)
      cold[#cold + 1] = wrk.format(nil, nil, nil, body(name, string.sub(words, 1, bytes - #body(name, ""))))
    end
  end
  function request()
    count = count + 1
    if count % 20 ~= 0 then return ready end
    return cold[(count / 20) % #cold + 1]
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\n{"requests":%d,"seconds":%f,"p50Ms":%f,"p99Ms":%f,"failures":%d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
