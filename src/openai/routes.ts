// The exact table of routes that are forwarded to engines: every route of vLLM that takes a model's name. What is not here, nor among the
// routes by an answer's id (answer-routes.ts), is answered 404 and never forwarded. Which of them an engine has depends on its model.

import type { StepgateError } from '../errors.ts';
import type { Rewriter } from './echo.ts';

export interface Route {
  /** The engine's. */
  readonly path: string;
  /** The path that callers know it by, for metrics and the log. */
  readonly label: string;
  readonly body: 'json' | 'form';
  /** `required`: a body without `model` is an error; `optional`: it means the base, as engines take it. */
  readonly model: 'required' | 'optional';
  /** What the engine puts in the answer's `model`: the name it was asked for, the base whatever was asked, or nothing. */
  readonly echo: 'asked' | 'base' | 'none';
  /** Streams are typed events (`event:` lines), so an error in a stream is one too. */
  readonly typedEvents: boolean;
  /** The engine keeps its answers, to be asked for by their ids: see answer-id.ts. */
  readonly keeps: boolean;
  /** Takes sampling parameters under vLLM's own names, so that the defaults of a deployment fit in. */
  readonly samples: boolean;
  /** Undefined: it answers as engines do. */
  readonly wording: Wording | undefined;
}

/** How a route of our own speaks to its callers, where a route of the engine's serves it. */
export interface Wording {
  /** Turns the engine's answer into ours. `model`: the base or the step that answers. */
  answers(model: string): Rewriter;
  /** The body that tells of an error. */
  errors(error: StepgateError): unknown;
}

const route = (path: string, more: Partial<Route> = {}): Route => ({
  path,
  label: path,
  body: 'json',
  model: 'required',
  echo: 'asked',
  typedEvents: false,
  keeps: false,
  samples: /\/completions(\/batch|\/render)?$/.test(path),
  wording: undefined,
  ...more,
});

export const ROUTES: readonly Route[] = [
  route('/v1/chat/completions'),
  route('/v1/chat/completions/batch'),
  route('/v1/completions'),
  route('/v1/responses', { typedEvents: true, keeps: true }),
  route('/v1/messages', { typedEvents: true }),
  route('/v1/messages/count_tokens', { echo: 'none' }),
  route('/cohere/v2/chat', { echo: 'none' }),
  route('/generative_scoring'),
  route('/v1/systemone'),
  route('/v1/audio/transcriptions', { body: 'form' }),
  route('/v1/audio/translations', { body: 'form' }),
  route('/v1/embeddings', { echo: 'base' }),
  route('/v2/embed', { echo: 'none' }),
  route('/pooling', { echo: 'base' }),
  route('/classify', { echo: 'base' }),
  ...['/score', '/v1/score', '/rerank', '/v1/rerank', '/v2/rerank'].map((path) => route(path, { echo: 'base' })),
  // Tokens in, tokens out, for those who run the tokenizer elsewhere (vLLM's --enable-scale-out).
  route('/inference/v1/generate'),
  ...['/v1/chat/completions', '/v1/completions', '/v1/messages', '/v1/responses', '/cohere/v2/chat'].map((path) =>
    route(`${path}/render`),
  ),
  ...['/v1/chat/completions', '/v1/completions'].map((path) => route(`${path}/derender`)),
  route('/tokenize', { model: 'optional', echo: 'none' }),
  route('/detokenize', { model: 'optional', echo: 'none' }),
];

/**
 * The route that a path which is none was meant to be: OpenAI's clients put `/chat/completions` behind whatever they were given as their base URL,
 * one without `/v1` or one that is a whole route already.
 */
export function meantBy(path: string): string | undefined {
  const known = [...ROUTES.map((route) => route.path), '/v1/models'].filter((route) => route.startsWith('/v1/'));
  const meant = known.filter((route) => path.endsWith(route.slice('/v1'.length)));
  return meant.sort((a, b) => b.length - a.length)[0];
}
