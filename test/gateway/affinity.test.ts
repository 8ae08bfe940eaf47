// Over real sockets: requests of one session are answered by one engine, as far as several could.
import { expect, test } from 'vitest';
import { setUp } from './harness.ts';

const SESSIONS = Array.from({ length: 12 }, (_, index) => `session-${index}`);

test('each session stays on its engine, and the sessions share the engines', async () => {
  const house = await setUp({ engines: [{ base: 'org/base' }, { base: 'org/base' }], latest: 'published' });
  const backendOf = async (headers: Record<string, string>, content = 'Hello') => {
    const body = { model: 'org/base', messages: [{ role: 'user', content }] };
    const response = await house.post('/v1/chat/completions', body, headers);
    expect(response.status).toBe(200);
    await response.text();
    return response.headers.get('x-stepgate-backend');
  };
  const first = [];
  for (const session of SESSIONS) first.push(await backendOf({ 'x-session-id': session }));
  expect(new Set(first).size).toBe(2);
  for (const [index, session] of SESSIONS.entries())
    expect(await backendOf({ 'x-session-id': session }, `turn two of ${session}`)).toBe(first[index]);
  const prompt = 'A long system prompt. '.repeat(60);
  expect(await backendOf({}, `${prompt} One.`)).toBe(await backendOf({}, `${prompt} Two.`));
});
