// Requests that share a session or a prompt's beginning meet on one of the backends that hold what they ask for, as long as load allows.
import { expect, test } from 'vitest';
import { affinityOf } from '../../src/affinity.ts';
import { as, type BackendName } from '../../src/domain.ts';
import { hashOf, preferred } from '../../src/router/affinity.ts';
import { replay, trim } from './transcript.ts';

const backends = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: as<BackendName>(`gpu-${index}`) }));
const sessions = Array.from({ length: 4000 }, (_, index) => hashOf(`session-${index}`));

test('each backend is preferred by its share of the sessions, whatever order the backends come in', () => {
  const four = backends(4);
  const counts = new Map<string, number>();
  for (const session of sessions) {
    const own = preferred(four, session);
    expect(preferred(four.toReversed(), session)).toBe(own);
    counts.set(own?.name ?? '', (counts.get(own?.name ?? '') ?? 0) + 1);
  }
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
});

test('a backend that goes moves only the sessions that preferred it', () => {
  const four = backends(4);
  const three = four.slice(0, 3);
  for (const session of sessions) {
    const before = preferred(four, session);
    if (before !== four[3]) expect(preferred(three, session)).toBe(before);
  }
});

const prompt = (text: string) => new TextEncoder().encode(text);
const asked = (headers: Record<string, string>, text?: string) =>
  affinityOf({ incoming: { headers }, prompt: text === undefined ? undefined : prompt(text) });

test('the session counts before the prompt, and of the prompt only how it begins', () => {
  const system = 's'.repeat(1024);
  expect(asked({ 'x-session-id': 'a' }, 'one')).toBe(asked({ 'x-session-id': 'a' }, 'two'));
  expect(asked({ 'x-session-id': 'a' })).not.toBe(asked({ 'x-session-id': 'b' }));
  expect(asked({}, `${system} one`)).toBe(asked({}, `${system} two`));
  expect(asked({}, `t${system}`)).not.toBe(asked({}, system));
  expect(asked({ 'x-session-id': '' }, 'one')).toBe(asked({}, 'one'));
  expect(asked({})).toBeUndefined();
});

test('one session stays on its backend, also when another is less busy; without a session load decides', () => {
  const session = hashOf('session-1');
  const own = preferred(backends(2), session)?.name;
  const other = own === 'gpu-0' ? 'gpu-1' : 'gpu-0';
  const text = `
     >> up gpu-0 holds=m@1
     >> up gpu-1 holds=m@1
     >> arrived 1 m@1 affinity=${session}
     << dispatch 1 ${own} resident
     >> arrived 2 m@1 affinity=${session}
     << dispatch 2 ${own} resident
     >> arrived 3 m@1
     << dispatch 3 ${other} resident`;
  expect(replay(text)).toBe(trim(text));
});

test('a backend that is far busier than another loses even its own sessions', () => {
  const session = hashOf('session-1');
  const own = preferred(backends(2), session)?.name;
  const arrivals = Array.from({ length: 40 }, (_, index) => `>> arrived ${index} m@1 affinity=${session}`);
  const lines = replay(['>> up gpu-0 holds=m@1', '>> up gpu-1 holds=m@1', ...arrivals].join('\n')).split('\n');
  const placed = lines.filter((line) => line.startsWith('<< dispatch'));
  const onOwn = placed.filter((line) => line.includes(`${own} `)).length;
  expect(placed).toHaveLength(40);
  expect(placed.slice(0, 17).every((line) => line.includes(`${own} `))).toBe(true);
  expect(2 * onOwn - 40).toBeLessThanOrEqual(18);
});
