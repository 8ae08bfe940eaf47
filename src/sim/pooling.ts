// The routes that make numbers instead of words: embeddings, pooling, classification, scores, ranks. A generating vLLM has none of them but
// generative_scoring, and a pooling one no chat; this one has all, so that one engine serves every example.
import { embed, tokenize } from './answers.ts';
import { type Body, numberAt, promptsOf, stringAt } from './exchange.ts';
import { modelOf } from './inference.ts';
import type { Machine } from './machine.ts';
import { missingField } from './refusals.ts';

const DIMENSIONS = 64;

interface Pooled {
  readonly machine: Machine;
  readonly body: Body;
  /** Of the weights that answer. */
  readonly digest: string;
}

/** What each route answers. Those that pool echo the base, whichever adapter answered. */
export const POOLING: Readonly<Record<string, (pooled: Pooled) => object>> = {
  '/v1/embeddings': (pooled) => {
    const inputs = inputsOf(pooled, 'input');
    return listed(pooled, 'embd', inputs, (input) => ({ object: 'embedding', embedding: vectorOf(pooled, input) }));
  },
  '/v2/embed': (pooled) => {
    const inputs = inputsOf(pooled, 'texts');
    return {
      id: `embd-${pooled.machine.nextId()}`,
      embeddings: { float: inputs.map((input) => embed(pooled.digest, input, DIMENSIONS)) },
      texts: pooled.body.texts,
      meta: { api_version: { version: '2' }, billed_units: { input_tokens: count(inputs) } },
      response_type: 'embeddings_by_type',
    };
  },
  '/pooling': (pooled) => {
    const inputs = inputsOf(pooled, 'input');
    return listed(pooled, 'pool', inputs, (input) => ({ object: 'pooling', data: vectorOf(pooled, input) }));
  },
  '/classify': (pooled) =>
    listed(pooled, 'classify', inputsOf(pooled, 'input'), (input) => {
      const yes = scoreOf(pooled, input);
      return { label: yes < 0.5 ? 'LABEL_0' : 'LABEL_1', probs: [1 - yes, yes], num_classes: 2 };
    }),
  '/score': scores,
  '/v1/score': scores,
  '/rerank': ranks,
  '/v1/rerank': ranks,
  '/v2/rerank': ranks,
  '/generative_scoring': (pooled) => {
    const items = pairsOf(pooled, 'query', 'items');
    const list = listed(pooled, 'generative-scoring', items, (item) => ({
      object: 'score',
      score: scoreOf(pooled, item),
    }));
    return { ...list, model: modelOf(pooled.machine, pooled.body) };
  },
};

export async function pool(machine: Machine, body: Body, answer: (pooled: Pooled) => object): Promise<object> {
  const { digest } = await machine.engine.speaker(modelOf(machine, body));
  return answer({ machine, body, digest });
}

function scores(pooled: Pooled): object {
  const [one, other] = pooled.body.text_1 === undefined ? ['queries', 'documents'] : ['text_1', 'text_2'];
  const pairs = pairsOf(pooled, one, other);
  return listed(pooled, 'embd', pairs, (pair) => ({ object: 'score', score: scoreOf(pooled, pair) }));
}

function ranks(pooled: Pooled): object {
  const pairs = pairsOf(pooled, 'query', 'documents');
  const documents: unknown[] = [pooled.body.documents].flat();
  const results = pairs.map((pair, index) => ({
    index,
    document: { text: String(documents[index]) },
    relevance_score: scoreOf(pooled, pair),
  }));
  return {
    id: `rerank-${pooled.machine.nextId()}`,
    model: pooled.machine.base,
    usage: { prompt_tokens: count(pairs), total_tokens: count(pairs) },
    results: results.sort((a, b) => b.relevance_score - a.relevance_score),
  };
}

type Tokens = readonly number[];

function listed(pooled: Pooled, kind: string, inputs: readonly Tokens[], row: (input: Tokens) => object) {
  const { machine } = pooled;
  const tokens = count(inputs);
  return {
    id: `${kind}-${machine.nextId()}`,
    object: 'list',
    created: Math.floor(machine.clock.unixS()),
    model: machine.base,
    data: inputs.map((input, index) => ({ index, ...row(input) })),
    usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
  };
}

const count = (inputs: readonly Tokens[]): number => inputs.reduce((sum, input) => sum + input.length, 0);

function inputsOf({ body }: Pooled, field: string): number[][] {
  return promptsOf(body[field] ?? []);
}

/** One text with each of the others. */
function pairsOf({ body }: Pooled, one: string, other: string): number[][] {
  const query = stringAt(body, one);
  if (query === undefined || body[other] === undefined) throw missingField(other, Object.keys(body).length);
  return [body[other]].flat().map((item) => tokenize(`${query}\n${String(item)}`));
}

function vectorOf({ digest, body }: Pooled, input: Tokens): number[] | string {
  const vector = embed(digest, input, numberAt(body, 'dimensions') ?? DIMENSIONS);
  return body.encoding_format === 'base64' ? Buffer.from(Float32Array.from(vector).buffer).toString('base64') : vector;
}

/** From 0 to 1. */
const scoreOf = ({ digest }: Pooled, input: Tokens): number => ((embed(digest, input, 1)[0] ?? 0) + 1) / 2;
