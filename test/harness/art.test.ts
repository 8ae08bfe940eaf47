// OpenPipe ART (0.5.18) itself against the gateway: its pipelined trainer rolls out, trains and evaluates at once, loads and prunes adapters as its
// service does with a vLLM of its own, and deletes all but the latest and the best.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { given, openGateway, openSite } from './site.ts';

test('its pipeline trains five steps, examines each by its name, and leaves two of them loaded', async () => {
  const site = await openSite();
  const house = await openGateway();
  const script = join(import.meta.dirname, 'art_client.py');
  const written = given.checkpoints.map(([, path]) => `'${path}'`).join(' ');
  const said = await site.run(`python -W ignore '${script}' ${house.running.url} ${written}`, 'ART', given.artVenv);
  for (const step of [0, 1, 2, 3, 4, 5]) expect(said).toContain(`step ${step}: examined, `);
  expect(said).toContain('loaded at the end: agent@4 agent@5\n');
  expect(said).toMatch(/^left:( 000[0-4])? 0005$/m);
  const answered = (model: string) => house.ask(model, { max_tokens: 1 });
  expect(await answered('agent@5')).toMatchObject({ status: 200, model: 'agent@5' });
  expect(await answered('agent@1')).toMatchObject({ status: 410, code: 'checkpoint_deleted' });
}, 300_000);
