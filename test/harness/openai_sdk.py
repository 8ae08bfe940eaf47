"""What people do with OpenAI's Python SDK, against a gateway whose model my-model has the steps that are given. Ends with 0 if all of it holds.

usage: python openai_sdk.py BASE_URL STEP STEP ...
"""

import asyncio
import sys

import openai
from openai import AsyncOpenAI, OpenAI

BASE_URL, STEPS = sys.argv[1], sorted(map(int, sys.argv[2:]))
NAMES = [f"my-model@{step}" for step in STEPS]
HELLO = [{"role": "user", "content": "hello"}]
client = OpenAI(base_url=BASE_URL, api_key="none", max_retries=0)


def check(what: str, holds: object) -> None:
    print(f"{'ok' if holds else 'NOT OK'}: {what}", flush=True)
    if not holds:
        sys.exit(1)


def refused(kind: type[openai.APIStatusError], code: str, call) -> bool:
    try:
        call()
    except kind as error:
        return error.code == code
    return False


def chat(model: str, **more):
    return client.chat.completions.create(model=model, messages=HELLO, max_tokens=4, temperature=0, **more)


def answers() -> None:
    for name in NAMES:
        check(f"chat: {name} answers under its name", chat(name).model == name)
    check("chat: the bare name is the newest step", chat("my-model").model == NAMES[-1])
    raw = client.chat.completions.with_raw_response.create(model=NAMES[0], messages=HELLO, max_tokens=4)
    check("chat: the header says who answered", raw.headers["x-stepgate-model"] == NAMES[0])
    logprobs = chat(NAMES[0], logprobs=True).choices[0].logprobs
    check("chat: log probabilities", logprobs is not None and len(logprobs.content) == 4)

    chunks = list(chat(NAMES[1], stream=True, stream_options={"include_usage": True}))
    check("stream: every chunk says which step", {chunk.model for chunk in chunks} == {NAMES[1]})
    check("stream: usage at the end", chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 4)

    echoed = client.completions.create(model=NAMES[2], prompt=[5, 6, 7, 8], max_tokens=1, logprobs=1, echo=True, temperature=0)
    scores = echoed.choices[0].logprobs.token_logprobs
    check("completions: token ids in, their log probabilities out", len(scores) == 5 and scores[0] is None)


def listings() -> None:
    models = client.models.list().data
    check("models.list: base first, then steps", [model.id for model in models][1:] == NAMES)
    check("models.retrieve: a step", client.models.retrieve(NAMES[0]).id == NAMES[0])
    check("models.retrieve: the bare name", client.models.retrieve("my-model").id == NAMES[-1])
    page = client.fine_tuning.jobs.checkpoints.list("my-model", limit=2)
    check("checkpoints.list: newest first, in pages", [one.step_number for one in page.data] == STEPS[::-1][:2])
    every = [one.fine_tuned_model_checkpoint for one in client.fine_tuning.jobs.checkpoints.list("my-model", limit=2)]
    check("checkpoints.list: all pages", every == NAMES[::-1])


def refusals() -> None:
    check("no such step: NotFoundError", refused(openai.NotFoundError, "model_not_found", lambda: chat("my-model@99999")))
    check("no such model: NotFoundError", refused(openai.NotFoundError, "model_not_found", lambda: client.models.retrieve("nobody")))
    check("a bad field: BadRequestError", refused(openai.BadRequestError, "invalid_request", lambda: client.models.list(extra_query={"limit": "x"})))
    deleted = client.models.delete(NAMES[0])
    check("models.delete: a step", deleted.deleted and deleted.id == NAMES[0])
    check("a deleted step: 410", refused(openai.APIStatusError, "checkpoint_deleted", lambda: chat(NAMES[0])))
    check("a deleted step is listed no more", NAMES[0] not in [model.id for model in client.models.list()])


async def crowd() -> None:
    """More steps than slots, from one event loop, as trainers and harnesses ask."""
    asking = AsyncOpenAI(base_url=BASE_URL, api_key="none", max_retries=0)
    wanted = NAMES[1:] * 6
    got = await asyncio.gather(*(asking.chat.completions.create(model=name, messages=HELLO, max_tokens=4) for name in wanted))
    check(f"{len(wanted)} at once for {len(NAMES) - 1} steps: each by its own", [answer.model for answer in got] == wanted)


answers()
listings()
refusals()
asyncio.run(crowd())
