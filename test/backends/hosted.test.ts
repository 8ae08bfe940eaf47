// Which refusals of services say that they have no such model: as recorded from each, for another 404 must not put a checkpoint out of use.
import { Pool } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { createHostedDriver } from '../../src/backends/hosted.ts';
import { engineError } from '../../src/openai/engine-error.ts';

const openai = (message: string, code: string | null) =>
  JSON.stringify({ error: { message, type: 'invalid_request_error', param: 'model', code } });

test.each<[string, number, string, boolean]>([
  [
    'OpenAI',
    404,
    openai('The model `ft:x:ckpt-step-9` does not exist or you do not have access to it.', 'model_not_found'),
    true,
  ],
  ['OpenAI, without a code', 404, openai('That model does not exist', null), true],
  ['OpenAI, as 400', 400, openai('invalid model ID', 'model_not_found'), true],
  [
    'Fireworks',
    404,
    '{"message":"Model not found, inaccessible, and/or not deployed","param":"model","code":"NOT_FOUND","type":"error"}',
    true,
  ],
  [
    'Together',
    404,
    openai('Unable to access model me/x. Please visit https://api.together.xyz to see the list', 'model_not_found'),
    true,
  ],
  ['Together, as 400', 400, openai('Unable to access non-serverless model me/x.', 'model_not_available'), true],
  ['a server of FastAPI', 404, '{"detail":"Checkpoint 000080 not found"}', true],
  [
    'OpenAI of another route',
    404,
    openai(
      'This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?',
      null,
    ),
    false,
  ],
  [
    'OpenAI of another route, the other way',
    404,
    openai('This is not a chat model and thus not supported in the v1/chat/completions endpoint.', null),
    false,
  ],
  ['OpenAI of no route', 404, openai('Invalid URL (POST /v1/embeddings)', null), false],
  ['no such route', 404, '{"detail":"Not Found"}', false],
  ['no such route, in text', 404, '404 page not found', false],
  ['no such route, in HTML', 404, '<html><center><h1>404 Not Found</h1></center></html>', false],
  [
    'a bad request',
    400,
    openai("Unsupported parameter: 'max_tokens' is not supported with this model.", 'unsupported_parameter'),
    false,
  ],
])('%s, %i', (_, status, text, expected) => {
  const dispatcher = new Pool('http://127.0.0.1:9');
  onTestFinished(() => dispatcher.destroy());
  const { unknownModel } = createHostedDriver({ url: 'http://127.0.0.1:9', dispatcher });
  expect(unknownModel.statuses).toContain(status);
  expect(unknownModel.says(engineError(text, status), status)).toBe(expected);
});
