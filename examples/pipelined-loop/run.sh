#!/usr/bin/env bash
# Two simulated engines and a gateway, then the loop that is named, then the end of all three.
# Usage: [PORT=8080] run.sh python3 loop.py, or: run.sh node loop.ts.
set -euo pipefail
cd "$(dirname "$0")"
# The Node that npm ci brings.
export PATH="$PWD/../../node_modules/.bin:$PATH"

port=${PORT:-8080}
gpus=($((port + 20)) $((port + 21)))
for one in "$port" $((port + 1)) "${gpus[@]}"; do
  if (exec 3<> "/dev/tcp/127.0.0.1/$one") 2> /dev/null; then
    echo "Port $one is taken. Name four others by their first: PORT=$((port + 10000)) $0 $*" >&2
    exit 1
  fi
done

# Elsewhere: npm install stepgate, and npx stepgate.
stepgate() { exec node ../../bin/stepgate.js "$@"; }
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$work"' EXIT
cat > "$work/stepgate.yaml" <<YAML
listen: 127.0.0.1:$port
admin: 127.0.0.1:$((port + 1))
data: ./stepgate-data
backends:
  - { name: gpu-0, url: http://127.0.0.1:${gpus[0]} }
  - { name: gpu-1, url: http://127.0.0.1:${gpus[1]} }
models:
  policy:
    latest: ready # rollouts go on with the step before until an engine holds the new one
YAML

for gpu in "${gpus[@]}"; do
  stepgate sim --port "$gpu" --max-loras 2 > "$work/gpu-$gpu.log" 2>&1 &
done
stepgate serve --config "$work/stepgate.yaml" > "$work/gateway.log" 2>&1 &
gateway=$!
until curl -sf "http://127.0.0.1:$port/ready" > /dev/null; do
  kill -0 "$gateway" 2> /dev/null || { cat "$work"/*.log >&2; exit 1; }
  sleep 0.2
done
"$@" "http://127.0.0.1:$port/v1"
