"""The same questions for inspect-ai. An answer's score is a checksum of its text: no step knows anything, but each says something else."""

from zlib import crc32

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Target, mean, scorer
from inspect_ai.solver import TaskState, generate


@scorer(metrics=[mean()])
def checksum():
    async def score(state: TaskState, target: Target) -> Score:
        said = state.output.completion
        return Score(value=crc32(said.encode()) % 1000 / 1000, answer=said)

    return score


@task
def tiny():
    return Task(
        dataset=json_dataset("questions.jsonl", lambda record: Sample(input=record["question"])),
        solver=generate(),
        scorer=checksum(),
        config=GenerateConfig(temperature=0, max_tokens=8),
    )
