// Promise: nothing that callers write grows what the gateway keeps or prints: labels of metrics, messages, lines of the log.
import { Writable } from 'node:stream';
import pino from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { defaultConfig } from '../../src/config.ts';
import { MESSAGE_CHARACTERS_MAX, StepgateError } from '../../src/errors.ts';
import { start } from '../../src/serve.ts';
import { setUp } from '../gateway/harness.ts';
import { told } from './house.ts';

test('a message is told whole up to its limit; one character more is cut, and says so', () => {
  const whole = 'x'.repeat(MESSAGE_CHARACTERS_MAX);
  expect(new StepgateError('invalid_request', whole).message).toBe(whole);
  const cut = new StepgateError('invalid_request', `${whole}x`).message;
  expect(cut).toHaveLength(MESSAGE_CHARACTERS_MAX);
  expect(cut.endsWith('x...')).toBe(true);
});

test('however a caller words its name, path, method or headers, metrics have no more lines than before', async () => {
  const house = await setUp();
  const lines = async () =>
    (await house.running.gateway.metrics.text()).split('\n').filter((line) => /^stepgate_/.test(line));
  const ask = async (word: string) => {
    const json = { 'content-type': 'application/json' };
    await house.post('/v1/completions', { model: word, prompt: 'hi' });
    await house.post('/v1/completions', { model: 'base', prompt: 'hi' }, { 'x-stepgate-class': word });
    await house.post('/v1/completions', { model: 'base', prompt: 'hi' }, { 'x-stepgate-sweep': word });
    await house.post('/v1/completions', 'x', { 'content-type': word });
    await fetch(`${house.running.url}/v1/responses/${word}`);
    await fetch(`${house.running.url}/v1/${word}`, { method: 'PUT', headers: json, body: '{}' });
  };
  await ask('first');
  const before = await lines();
  for (let index = 0; index < 50; index++) await ask(`word-${index}`);
  const names = (all: string[]) => all.map((line) => line.replace(/ \S+$/, '')).sort();
  expect(names(await lines())).toEqual(names(before));
  expect((await lines()).join('\n')).not.toContain('word-');
});

test('headers as long as may be end in a short answer and a short line of the log', async () => {
  const written: string[] = [];
  const sink = new Writable({
    write(line, _, done) {
      written.push(String(line));
      done();
    },
  });
  const house = await setUp();
  const config = { ...defaultConfig(), ...house.running.gateway.config, data: `${house.home}/other` };
  const running = await start(config, { log: pino({ level: 'info' }, sink) });
  onTestFinished(() => running.close({ now: true }));
  const long = 'x'.repeat(60_000);
  const shouting: Record<string, string>[] = [
    { 'x-stepgate-class': long },
    { 'content-type': long },
    { 'content-encoding': long },
    { 'x-request-id': long },
    { authorization: long },
    { 'x-stepgate-sweep': long },
  ];
  for (const headers of shouting) {
    const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers } };
    const body = JSON.stringify({ model: 'nobody', prompt: 'hi' });
    const { status, message } = await told(fetch(`${running.url}/v1/completions`, { ...init, body }));
    expect(status).toBeGreaterThanOrEqual(400);
    expect(message.length).toBeLessThanOrEqual(MESSAGE_CHARACTERS_MAX);
  }
  const body = JSON.stringify({ model: long, prompt: 'hi' });
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  expect(await told(fetch(`${running.url}/v1/completions`, init))).toMatchObject({ status: 404 });
  expect(written.join('')).toContain('request refused');
  for (const line of written) expect(line.length).toBeLessThan(MESSAGE_CHARACTERS_MAX + 500);
});
