#!/usr/bin/env bash
# Serves MODEL_DIR/base with LoRA on the CPU; GET /health answers 200 after about 45 s.
# Usage: serve.sh VENV_DIR MODEL_DIR PORT [MAX_LORAS=2] [MAX_CPU_LORAS=4] [more vLLM flags]
set -euo pipefail

usage='usage: serve.sh VENV_DIR MODEL_DIR PORT [MAX_LORAS] [MAX_CPU_LORAS] [vLLM flags]'
venv=${1:?$usage} model=${2:?$usage} port=${3:?$usage} slots=${4:-2} cpu=${5:-4}
shift $(($# < 5 ? $# : 5))

export VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind
export VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 TORCHDYNAMO_DISABLE=1
exec "$venv/bin/python" -m vllm.entrypoints.openai.api_server \
  --model "$model/base" --served-model-name base --host 127.0.0.1 --port "$port" \
  --enable-lora --max-loras "$slots" --max-cpu-loras "$cpu" --max-lora-rank 16 \
  --max-model-len 1024 --max-num-seqs 16 --dtype bfloat16 --enforce-eager "$@"
