// `down`: what was asked last counts, and what is not the engine's is left alone.
import { describe, expect, test } from 'vitest';
import { until } from '../gateway/harness.ts';
import { backendsOf, changed, engineOf, freePort, houseWithStep, refusing, up, upAsk } from './house.ts';

describe('down', () => {
  test('one that is taken back while it is drained goes on, and so does what runs there', async () => {
    const house = await houseWithStep();
    await up(house);
    const long = { max_tokens: 8_000, ignore_eos: true, stream: true };
    const asked = { model: 'my-model@1', messages: [{ role: 'user', content: 'hi' }], ...long };
    const reader = (await house.post('/v1/chat/completions', asked)).body?.getReader();
    const down = house.admin('DELETE', '/engines/mine');
    await until(async () => (await backendsOf(house)).some(({ drain }) => drain !== null));
    await house.admin('DELETE', '/backends/mine/drain');
    expect(await down).toMatchObject({
      status: 409,
      body: { error: { message: '"mine" was taken back while it was drained: it goes on' } },
    });
    expect(await engineOf(house)).toMatchObject({ state: 'up' });
    expect(await reader?.read()).toMatchObject({ done: false });
    await reader?.cancel();
  });

  test('one whose end cannot be written down goes on, and is still a backend', async () => {
    const house = await houseWithStep();
    await up(house);
    const full = await changed(house, refusing('stopping'));
    await until(async () => (await engineOf(full)).state === 'up');
    expect((await full.admin('DELETE', '/engines/mine?force=true')).status).toBe(500);
    expect([(await full.ask('my-model@1')).status, (await engineOf(full)).state]).toEqual([200, 'up']);
    const next = await changed(full, 'DROP TRIGGER refusing');
    expect((await next.admin('DELETE', '/engines/mine?force=true')).status).toBe(200);
  });

  test('of one that is no backend leaves alone the backend of its name that the config has', async () => {
    const house = await houseWithStep({ engines: [{}] });
    await upAsk(house, { own: true, port: await freePort(), flags: ['--sim-silent'] });
    await house.reload({ backends: [{ name: 'mine', url: house.sims[0]?.url }] });
    expect((await house.admin('DELETE', '/engines/mine')).status).toBe(200);
    expect(await backendsOf(house)).toMatchObject([{ name: 'mine', from: 'config', state: 'up', drain: null }]);
  });
});
