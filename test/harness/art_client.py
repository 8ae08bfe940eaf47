"""OpenPipe ART's own pipeline against a gateway: its PipelineTrainer, its OpenAI client, and the HTTP calls of the service that loads adapters
into a vLLM. Only the training is pretended. What ART imports for that (torch, trl, unsloth) is not there, and never used here.

usage: python art_client.py GATEWAY_URL CHECKPOINT_DIRECTORY ...    (what each step writes, from step 0)
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock
from urllib.parse import urlsplit

import art


class Absent(MetaPathFinder, Loader):
    """Stands in for packages that are named at the top of ART's files, and that only training needs."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "trl", "peft", "unsloth", "triton", "datasets"}:
            return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


sys.meta_path.append(Absent())

from art.local.checkpoints import delete_checkpoints  # noqa: E402
from art.pipeline_trainer import PipelineTrainer  # noqa: E402
from art.types import TrainResult  # noqa: E402
from art.unsloth.service import UnslothService  # noqa: E402
from art.utils.output_dirs import get_model_dir, get_step_checkpoint_dir  # noqa: E402
from art.vllm_runtime import wait_for_vllm_runtime  # noqa: E402

URL, WRITTEN = sys.argv[1], sys.argv[2:]
HOST, PORT = urlsplit(URL).hostname, urlsplit(URL).port
OFF_POLICY = 1


class Backend(art.Backend):
    """ART's LocalBackend in dedicated mode as far as HTTP goes, with the gateway for its vLLM, and a trainer that only copies."""

    def __init__(self, path: str):
        self.path, self.step, self.service = path, 0, None

    async def register(self, model) -> None:
        self.dir = get_model_dir(model, self.path)
        config = {"rollout_weights_mode": "lora", "trainer_gpu_ids": [0], "inference_gpu_ids": [1]}
        self.service = UnslothService(model_name=model.name, base_model=model.base_model, config=config, output_dir=self.dir)
        self.service._vllm_host, self.service._vllm_port = HOST, PORT

    async def _prepare_backend_for_training(self, model, config=None):
        with subprocess.Popen(["sleep", "60"]) as process:
            await wait_for_vllm_runtime(process=process, host=HOST, port=PORT, timeout=10)
            process.kill()
        await self.save(0)
        return f"{URL}/v1", "none"

    def _model_inference_name(self, model, step=None) -> str:
        return f"{model.name}@{self.step if step is None else step}"

    async def _get_step(self, model) -> int:
        return self.step

    async def save(self, step: int) -> None:
        checkpoint = get_step_checkpoint_dir(self.dir, step)
        shutil.copytree(WRITTEN[step], checkpoint)
        await self.service._reload_adapter(checkpoint, step)
        self.step = step

    async def train(self, model, trajectory_groups, **kwargs) -> TrainResult:
        for group in trajectory_groups:
            for trajectory in group.trajectories:
                step = int(trajectory.metadata["who"].partition("@")[2])
                assert self.step - step <= OFF_POLICY, f"step {step} spoke while {self.step} was trained"
        await asyncio.sleep(0.1)
        await self.save(self.step + 1)
        print(f"step {self.step}: trained on {sum(len(group.trajectories) for group in trajectory_groups)} answers", flush=True)
        return TrainResult(step=self.step)

    async def prune_model_adapters(self, model, *, retain_steps: set[int]) -> None:
        await self.service.prune_loaded_adapters(retain_steps=retain_steps)

    async def _delete_checkpoint_files(self, model, steps_to_keep: list[int]) -> None:
        delete_checkpoints(self.dir, steps_to_keep)
        for step in self.service._loaded_adapter_steps - set(steps_to_keep):
            await self.service._unload_adapter(step)

    async def close(self) -> None:
        self.service.close()


async def ask(model, text: str, step: int | None = None) -> art.Trajectory:
    messages = [{"role": "user", "content": text}]
    answer = await model.openai_client().chat.completions.create(
        model=model.get_inference_name(step), messages=messages, max_tokens=6, logprobs=True
    )
    assert answer.model == model.get_inference_name(step) or step is None, answer.model
    assert answer.choices[0].logprobs.content
    reward = sum(map(ord, answer.choices[0].message.content)) % 100 / 100
    return art.Trajectory(messages_and_choices=[*messages, answer.choices[0]], reward=reward, metadata={"who": answer.model})


async def rollout(model, scenario: str, config) -> art.TrajectoryGroup:
    return art.TrajectoryGroup([await ask(model, f"{scenario}, take {take}") for take in range(4)])


async def evaluate(model, step: int, config) -> list[art.Trajectory]:
    exams = await asyncio.gather(*(ask(model, f"exam {number}", step) for number in range(8)))
    print(f"step {step}: examined, {sum(exam.reward for exam in exams) / 8:.3f}", flush=True)
    return exams


async def main(path: str) -> None:
    steps = len(WRITTEN) - 1
    model = art.TrainableModel(name="agent", project="pipeline", base_model="base", base_path=path)
    backend = Backend(path)
    await model.register(backend)
    trainer = PipelineTrainer(
        model, backend, rollout, (f"scene {number}" for number in range(200)), None, evaluate,
        num_rollout_workers=4, min_batch_size=4, max_steps=steps, max_steps_off_policy=OFF_POLICY, eval_every_n_steps=1,
    )  # fmt: skip
    await trainer.train(handle_signals=False)
    loaded = [listed.id async for listed in model.openai_client().models.list() if listed.id.startswith("agent@")]
    print("loaded at the end:", *loaded, flush=True)

    await model.delete_checkpoints("val/reward")
    print("left:", *sorted(os.listdir(f"{backend.dir}/checkpoints")), flush=True)
    await backend.close()


with tempfile.TemporaryDirectory() as directory:
    asyncio.run(main(directory))
