// The exact table of routes that are forwarded to engines. What is not here is answered 404 and never forwarded.

export interface Route {
  readonly path: string;
  /** `required`: a body without `model` is an error; `optional`: it means the base, as engines take it. */
  readonly model: 'required' | 'optional';
  /** What the engine puts in the answer's `model`: the name it was asked for, the base whatever was asked, or nothing. */
  readonly echo: 'asked' | 'base' | 'none';
  /** Streams are typed events (`event:` lines), so an error in a stream is one too. */
  readonly typedEvents: boolean;
}

const route = (path: string, more: Partial<Route> = {}): Route => ({
  path,
  model: 'required',
  echo: 'asked',
  typedEvents: false,
  ...more,
});

export const ROUTES: readonly Route[] = [
  route('/v1/chat/completions'),
  route('/v1/completions'),
  route('/v1/responses', { typedEvents: true }),
  route('/v1/messages', { typedEvents: true }),
  route('/v1/messages/count_tokens', { echo: 'none' }),
  route('/v1/embeddings', { echo: 'base' }),
  route('/tokenize', { model: 'optional', echo: 'none' }),
  route('/detokenize', { model: 'optional', echo: 'none' }),
];
