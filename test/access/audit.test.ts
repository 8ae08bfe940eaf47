// The audit log of a whole gateway: what was done by the admin API, by whom, with what was there before and after.
import { expect, test } from 'vitest';
import { setUp } from '../gateway/harness.ts';

interface Entry {
  readonly who: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
}

test('every action is there with who did it, what was before and after, and without a secret; reading is no action', async () => {
  const house = await setUp({ latest: 'published' });
  await house.write(5);
  await house.write(6);
  const { id, key } = house.running.gateway.access.keys.create({ name: 'root', scopes: ['admin'], models: [] });
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const ask = async (method: string, path: string, body?: unknown) => {
    const url = `${house.running.adminUrl}/admin/v1${path}`;
    const response = await fetch(url, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
    return (await response.json()) as Record<string, unknown>;
  };
  const alias = '/models/my-model/aliases/champion';
  await ask('PUT', alias, { step: 5, by: 'ann' });
  await ask('PUT', alias, { step: 6, by: 'ann' });
  await ask('PUT', alias, { step: 7 });
  await ask('GET', alias);
  const pin = await ask('POST', '/pins', { model: 'my-model', steps: [5], owner: 'ann' });
  await ask('DELETE', `/pins/${pin.id}`);
  const made = await ask('POST', '/keys', { name: 'evals', scopes: ['use'], models: ['*'] });
  await fetch(`${house.running.adminUrl}/admin/v1/pins`, { method: 'POST', body: '{}' });

  const again = await house.restart();
  const read = async (query: string) => {
    const response = await fetch(`${again.running.adminUrl}/admin/v1/audit${query}`, { headers });
    return ((await response.json()) as { data: (Entry & { id: number })[] }).data;
  };
  const entries = await read('');
  expect(entries.every(({ who }) => who === `${id} (root)`)).toBe(true);
  expect(entries.toReversed()).toMatchObject([
    { method: 'PUT', path: `/admin/v1${alias}`, status: 200, before: null, after: { step: 5, by: 'ann' } },
    { method: 'PUT', status: 200, before: { step: 5 }, after: { step: 6 } },
    { method: 'PUT', status: 404, before: { step: 6 }, after: { error: { code: 'model_not_found' } } },
    { method: 'POST', path: '/admin/v1/pins', status: 201, before: null, after: { id: pin.id } },
    {
      method: 'DELETE',
      path: `/admin/v1/pins/${pin.id}`,
      before: { id: pin.id, owner: 'ann' },
      after: { removed: true },
    },
    { method: 'POST', path: '/admin/v1/keys', status: 201, after: { id: made.id, key: `sg_${made.id}.***` } },
  ]);
  expect(entries).toHaveLength(6);
  const [, second] = entries;
  expect(await read(`?limit=1&before=${second?.id}`)).toMatchObject([{ id: (second?.id ?? 0) - 1 }]);
  expect(JSON.stringify(entries)).not.toContain(String(made.key));
});
