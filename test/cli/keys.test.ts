// `stepgate keys` and `stepgate audit` as a person uses them, against a whole gateway.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setUp } from '../gateway/harness.ts';
import { run } from './run.ts';

test('keys are made, listed, rotated and revoked; from the first admin key on it needs one; and the log has it all', async () => {
  const house = await setUp();
  const { adminUrl, url } = house.running;
  const call = (args: readonly string[], key = '') => run([...args, '--admin', adminUrl], { STEPGATE_KEY: key });
  const asks = async (key: string) =>
    (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;

  expect((await call(['keys'])).out).toContain('no keys: "stepgate keys NAME --scope admin" makes the first');
  const root = await call(['keys', 'root', '--scope', 'admin']);
  expect(root.out).toMatch(/^sg_[0-9a-f]{12}\.[\w-]{43}\n$/);
  expect(root.err).toContain('shown this once');
  const key = root.out.trim();
  expect(await call(['keys'])).toMatchObject({ code: 1, out: '' });
  const refused = await call(['keys', 'x']);
  expect(refused.err).toContain('asks for an admin key, and STEPGATE_KEY is not set: export STEPGATE_KEY=');
  expect((await call(['ps'], 'sg_0')).err).toContain('the one in STEPGATE_KEY does not count');
  const evals = await call(
    ['keys', 'evals', '--models', 'team-*', '--class', 'eval', '--rate', '60', '--for', '30d'],
    key,
  );
  const id = evals.out.slice(3, 15);
  expect(await asks(evals.out.trim())).toBe(200);

  const listed = (await call(['keys'], key)).out.split('\n');
  expect(listed[0]).toMatch(/^ID +NAME +SCOPES +MODELS +CLASS +LIMITS +STATE$/);
  expect(listed[2]).toMatch(new RegExp(`^${id} +evals +use +team-\\* +eval +60/min +good, (29|30) d more$`));

  const rotated = await call(['keys', '--rotate', id, '--grace', '1h'], key);
  expect([await asks(evals.out.trim()), await asks(rotated.out.trim())]).toEqual([200, 200]);
  expect((await call(['keys', '--revoke', id], key)).out).toBe(`revoked ${id} (evals)\n`);
  expect([await asks(evals.out.trim()), await asks(rotated.out.trim())]).toEqual([401, 401]);
  expect((await call(['keys', '--revoke', key.slice(3, 15)], key)).err).toContain('last admin key');

  const audit = (await call(['audit'], key)).out.trim().split('\n');
  expect(audit[1]).toMatch(/Z +409 +\w{12} \(root\) +DELETE \/keys\//);
  expect(audit.at(-1)).toMatch(/ 201 +no key +POST \/keys$/);
  expect(audit).toHaveLength(6);
}, 60_000);

test('who has no admin key any more makes one in the data directory, while no gateway runs on it', async () => {
  const house = await setUp();
  const data = join(house.home, 'data');
  const make = () => run(['keys', 'root', '--scope', 'admin', '--data', data]);
  expect((await make()).err).toMatch(/^\S*registry\.sqlite is in use/);
  await house.running.close();
  const { out } = await make();
  const again = await house.restart();
  expect((await run(['keys', '--admin', again.running.adminUrl])).code).toBe(1);
  expect((await run(['keys', '--admin', again.running.adminUrl], { STEPGATE_KEY: out.trim() })).out).toContain('root');
}, 60_000);

test.each([
  [['keys', 'a', '--revoke', 'b'], 'one of NAME, --rotate or --revoke'],
  [['keys', 'a', '--scope', 'everything'], '"everything" is none of use, publish, admin'],
  [['keys', 'a', '--rate', 'fast'], 'Give a whole number from 1 to'],
  [['keys', 'a', '--for', '3y'], '"3y" is no time'],
  [['keys', '--scope', 'admin'], '--scope goes with the NAME of a new key'],
  [['keys', 'a', '--grace', '1h'], '--grace goes with --rotate'],
])('%j is wrong usage', async (args, says) => {
  const { code, err } = await run([...args, '--admin', 'http://127.0.0.1:9']);
  expect(err).toContain(says);
  expect(code).toBe(2);
});
