"""A pipelined reinforcement-learning loop, with a pretended trainer: while step N+1 trains, step N answers the rollouts, earlier steps are
evaluated, and old ones are deleted. Needs a gateway (README.md), python3 and `pip install openai`; no GPU, no torch.

usage: python3 loop.py [BASE_URL=http://127.0.0.1:8080/v1] [STEPS=8]

What a real loop changes: `train` and `reward`. All else is the OpenAI SDK.
"""

import asyncio
import json
import random
import shutil
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path
from zlib import crc32

from openai import APIConnectionError, AsyncOpenAI

BASE_URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 8
MODEL, BATCH, EPISODES, TRAIN_S = "policy", 16, 12, 0.3
client = AsyncOpenAI(base_url=BASE_URL, api_key="none")
runs = Path(tempfile.mkdtemp(prefix="policy-"))


# The pretended trainer.


def write_adapter(step: int) -> Path:
    """As PEFT lays it out: an adapter_config.json, and a safetensors file of a few random numbers."""
    path = runs / f"{step:04d}"
    path.mkdir()
    header, data, numbers = {}, b"", random.Random(step)
    for side, shape in ("A", [4, 64]), ("B", [64, 4]):
        values = struct.pack("<256f", *(numbers.gauss(0, 0.1) for _ in range(256)))
        name = f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight"
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    (path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "base_model_name_or_path": "base"}
    (path / "adapter_config.json").write_text(json.dumps(config))
    return path


async def train(step: int, batch: list[dict]) -> Path:
    await asyncio.sleep(TRAIN_S)
    return write_adapter(step)


def reward(text: str) -> float:
    return crc32(text.encode()) % 1000 / 1000


# The loop.


async def ask(model: str, prompt: str, kind: str) -> dict:
    """One episode. Its `step` is who really answered: a bare name moves while the batch is made."""
    answer = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=8,
        logprobs=True,
        extra_headers={"x-stepgate-class": kind},
    )
    choice = answer.choices[0]
    logprobs = [token.logprob for token in choice.logprobs.content]
    step = int(answer.model.rpartition("@")[2])
    return {"step": step, "reward": reward(choice.message.content), "logprobs": logprobs}


async def publish(step: int, path: Path) -> None:
    """As to vLLM itself. The gateway has its own copy of the files when it answers: ours may go."""
    body = {"lora_name": f"{MODEL}@{step}", "lora_path": str(path)}
    await client.post("/load_lora_adapter", body=body, cast_to=str)
    shutil.rmtree(path)


async def roll_out(number: int) -> list[dict]:
    """A batch from the newest step: the bare name."""
    return await asyncio.gather(*(ask(MODEL, f"batch {number}, scene {scene}", "rollout") for scene in range(BATCH)))


async def evaluate(step: int) -> float:
    """One step by its name, beside all else. The gateway loads it again where it has lost its slot."""
    episodes = await asyncio.gather(*(ask(f"{MODEL}@{step}", f"exam {number}", "eval") for number in range(EPISODES)))
    assert {episode["step"] for episode in episodes} == {step}
    return sum(episode["reward"] for episode in episodes) / EPISODES


async def delete_checkpoints(keep: set[int]) -> list[int]:
    """As ART's: all but the latest and the best. @returns what is left"""
    left = []
    async for checkpoint in client.fine_tuning.jobs.checkpoints.list(MODEL):
        if checkpoint.step_number in keep:
            left.append(checkpoint.step_number)
        else:
            await client.models.delete(checkpoint.fine_tuned_model_checkpoint)
    return sorted(left)


async def main() -> None:
    print("step  trained on answers of    exams                 best  kept")
    await publish(0, write_adapter(0))
    batch, best = await roll_out(0), 0
    for step in range(1, STEPS + 1):
        # All at once: the next step trains, the newest makes the next batch, and sits an exam together with the best so far.
        examined = sorted({best, step - 1})
        path, next_batch, *scores = await asyncio.gather(train(step, batch), roll_out(step), *map(evaluate, examined))
        best = max(zip(scores, examined))[1]
        await publish(step, path)
        left = await delete_checkpoints(keep={best, step})
        spoke = " ".join(f"@{who} x{times}" for who, times in sorted(Counter(one["step"] for one in batch).items()))
        exams = " ".join(f"@{who} {score:.3f}" for who, score in zip(examined, scores))
        print(f"{step:>4}  {spoke:<23}  {exams:<20}  @{best:<3}  {' '.join(f'@{one}' for one in left)}", flush=True)
        batch = next_batch
    print(f"{STEPS} steps trained, {len(left)} kept: the latest, and the best, which is {MODEL}@{best}.")


try:
    asyncio.run(main())
except APIConnectionError:
    sys.exit(f"Nothing answers at {BASE_URL}. Start a gateway, or let run.sh do it: ./run.sh python3 loop.py")
finally:
    shutil.rmtree(runs)
