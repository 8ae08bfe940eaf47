// `stepgate sim` on its terminal.
import { expect, test } from 'vitest';
import { simCommand } from '../../src/cli/sim.ts';
import type { Terminal } from '../../src/cli/terminal.ts';
import { EngineClient } from '../engine/client.ts';
import { until } from './until.ts';

function run(...args: string[]): { lines: string[]; stop: () => void; ended: Promise<unknown> } {
  const lines: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const out = (text: string) => void lines.push(text);
  const terminal: Terminal = {
    key: undefined,
    width: 80,
    interactive: false,
    colour: false,
    out,
    err: out,
    show: out,
    stopped: () => promise,
  };
  return { lines, stop: resolve, ended: simCommand(terminal).parseAsync(args, { from: 'user' }) };
}

test('it says where it listens and how to ask it, serves with the options given, and ends when told', async () => {
  const sim = run('--port', '0', '--base', 'llama', '--max-loras', '3', '--speed', '1000');
  await until('it has said where', () => sim.lines.length === 2);
  const url = /http:\S+?(?=:? )/.exec(sim.lines[0] ?? '')?.[0] ?? '';
  expect(sim.lines[1]).toContain(`curl ${url}/v1/completions`);
  const client = new EngineClient(url.replace(/:$/, ''));
  expect((await client.post('/v1/completions', { model: 'llama', prompt: 'x' })).status).toBe(200);
  expect((await client.get('/metrics')).text).toContain('max_lora="3"');
  sim.stop();
  await sim.ended;
  await expect(client.get('/health')).rejects.toThrow();
});

test('a port that is taken fails with one line that says what to do', async () => {
  const first = run('--port', '0');
  await until('it has said where', () => first.lines.length === 2);
  const port = /127\.0\.0\.1:(\d+)/.exec(first.lines[0] ?? '')?.[1] ?? '';
  await expect(run('--port', port).ended).rejects.toThrow(
    `port ${port} is taken. Stop what listens there, or give another: --port ${Number(port) + 1}, or --port 0 for a free one.`,
  );
  first.stop();
  await first.ended;
});
