// What the SDK of OpenAI and the admin API list: whole, in pages, sorted and filtered; and what the SDK may delete.
import OpenAI from 'openai';
import { describe, expect, test } from 'vitest';
import { type House, setUp } from './harness.ts';

const STEPS = [10, 20, 30, 40, 50];

async function houseWithSteps(config: Record<string, unknown> = {}): Promise<House> {
  const house = await setUp({ latest: 'published', config });
  for (const step of STEPS) await house.write(step, { loss: step / 100 });
  return house;
}

interface Listed {
  readonly data: { readonly name: string; readonly names: readonly string[]; readonly readyOn: readonly string[] }[];
  readonly total: number;
  readonly hasMore: boolean;
}

async function list(house: House, query = ''): Promise<Listed> {
  const response = await fetch(`${house.running.adminUrl}/admin/v1/models/my-model/checkpoints${query}`);
  const body = (await response.json()) as Listed & { error?: { message: string } };
  if (body.error) throw new Error(`${response.status} ${body.error.message}`);
  return body;
}
const steps = ({ data }: Listed) => data.map(({ name }) => Number(name.split('@')[1]));

describe("OpenAI's SDK", () => {
  test('lists the checkpoints of a model as those of a job, newest first, through every page', async () => {
    const house = await houseWithSteps();
    await house.write(60, { flaw: 'dora' });
    const pages: number[][] = [];
    let page = await house.openai.fineTuning.jobs.checkpoints.list('my-model', { limit: 2 });
    for (;;) {
      pages.push(page.data.map(({ step_number }) => step_number));
      if (!page.hasNextPage()) break;
      page = await page.getNextPage();
    }
    expect(pages).toEqual([[50, 40], [30, 20], [10]]);
  });

  test('gets the shape that it declares, with the losses that the trainer wrote', async () => {
    const house = await houseWithSteps();
    const { data } = await house.openai.fineTuning.jobs.checkpoints.list('my-model', { limit: 1 });
    const { id = '' } = house.running.gateway.registry.catalog.find('my-model@50') ?? {};
    expect(data).toEqual([
      {
        object: 'fine_tuning.job.checkpoint',
        id: `ftckpt_${id.replaceAll('-', '')}`,
        created_at: expect.any(Number),
        fine_tuned_model_checkpoint: 'my-model@50',
        fine_tuning_job_id: 'my-model',
        step_number: 50,
        metrics: { step: 50, train_loss: 0.5, valid_loss: expect.closeTo(0.6) },
      },
    ]);
  });

  test('goes on where it was when the last one that it saw was deleted meanwhile', async () => {
    const house = await houseWithSteps();
    const page = await house.openai.fineTuning.jobs.checkpoints.list('my-model', { limit: 2 });
    await house.openai.models.delete('my-model@40');
    expect((await page.getNextPage()).data.map(({ step_number }) => step_number)).toEqual([30, 20]);
  });

  test('hears of an unknown job, an unknown page and a bad limit', async () => {
    const house = await houseWithSteps();
    const { checkpoints } = house.openai.fineTuning.jobs;
    await expect(checkpoints.list('nobody')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    await expect(checkpoints.list('my-model', { after: 'ftckpt_0' })).rejects.toMatchObject({
      status: 400,
      param: 'after',
    });
    await expect(checkpoints.list('my-model', { limit: 0 })).rejects.toMatchObject({ status: 400, param: 'limit' });
  });

  test('deletes a step, whose name then answers 410; a base, a bare name and an unknown one it cannot', async () => {
    const house = await houseWithSteps();
    expect(await house.openai.models.delete('my-model@0020')).toEqual({
      id: 'my-model@20',
      object: 'model',
      deleted: true,
    });
    expect(await house.ask('my-model@20')).toMatchObject({ status: 410 });
    const { models } = house.openai;
    await expect(models.delete('my-model@20')).rejects.toMatchObject({ status: 410, code: 'checkpoint_deleted' });
    await expect(models.delete('base')).rejects.toMatchObject({ status: 403, code: 'forbidden' });
    await expect(models.delete('my-model')).rejects.toMatchObject({ status: 404 });
    await expect(models.delete('my-model@21')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
  });

  test('deletes nothing for callers without a key where others can reach the listener', async () => {
    const house = await houseWithSteps({ listen: ':0', roots: ['/'] });
    const { port } = new URL(house.running.url);
    const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
    await expect(client.models.delete('my-model@10')).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' });
    expect(house.running.gateway.registry.catalog.find('my-model@10')?.state.kind).toBe('servable');
  });

  test('lists the models whole, or in pages: bases first', async () => {
    const house = await houseWithSteps();
    const all = (await house.openai.models.list()).data.map(({ id }) => id);
    expect(all).toEqual(['base', ...STEPS.map((step) => `my-model@${step}`)]);
    const page = async (query: string) =>
      (await (await fetch(`${house.running.url}/v1/models?${query}`)).json()) as {
        data: { id: string }[];
        has_more: boolean;
      };
    const first = await page('limit=4');
    expect(first).toMatchObject({ first_id: 'base', last_id: 'my-model@30', has_more: true });
    expect(await page('limit=4&after=my-model@30')).toMatchObject({
      data: [{ id: 'my-model@40' }, { id: 'my-model@50' }],
      has_more: false,
    });
    expect(await page('after=nobody')).toMatchObject({ error: { code: 'invalid_request', param: 'after' } });
  });
});

describe('the admin API', () => {
  test('lists in pages', async () => {
    const house = await houseWithSteps();
    const first = await list(house, '?order=desc&limit=2');
    expect([steps(first), first.total, first.hasMore]).toEqual([[50, 40], 5, true]);
    const rest = await list(house, '?order=desc&limit=9&after=my-model@40');
    expect([steps(rest), rest.total, rest.hasMore]).toEqual([[30, 20, 10], 5, false]);
  });

  test('sorts by a field or a metric; what has none is last, whatever the order', async () => {
    const house = await houseWithSteps();
    const { registry } = house.running.gateway;
    registry.patch('my-model@20', { judge: 0.9 }, 'test');
    registry.patch('my-model@40', { judge: 0.1 }, 'test');
    expect(steps(await list(house, '?sort=judge'))).toEqual([40, 20, 10, 30, 50]);
    expect(steps(await list(house, '?sort=judge&order=desc'))).toEqual([20, 40, 50, 30, 10]);
    expect(steps(await list(house, '?sort=eval_loss&order=desc'))).toEqual([50, 40, 30, 20, 10]);
    expect(steps(await list(house, '?sort=created'))).toEqual(STEPS);
  });

  test('filters by state and by number', async () => {
    const house = await houseWithSteps();
    await house.write(60, { flaw: 'dora' });
    house.running.gateway.registry.remove('my-model@10');
    const where = (...conditions: string[]) =>
      `?${conditions.map((one) => `where=${encodeURIComponent(one)}`).join('&')}`;
    expect(steps(await list(house, '?state=live'))).toEqual([20, 30, 40, 50, 60]);
    expect(steps(await list(house, '?state=ready'))).toEqual([20, 30, 40, 50]);
    expect(steps(await list(house, '?state=unservable'))).toEqual([60]);
    expect(steps(await list(house, '?state=deleted'))).toEqual([10]);
    expect(steps(await list(house, where('loss <= 0.4', 'step>20')))).toEqual([30, 40]);
    expect(steps(await list(house, where('loss=0.3')))).toEqual([30]);
    expect(steps(await list(house, where('nothing>0')))).toEqual([]);
  });

  test('tells the names that lead to a step, and which engines would serve it', async () => {
    const house = await setUp({
      engines: [{}, {}],
      latest: 'published',
      config: { models: {} },
    });
    await house.running.close({ now: true });
    const backends = house.sims.map((sim, index) => ({
      name: `gpu-${index}`,
      url: sim.url,
      rankMax: index === 0 ? 8 : 16,
    }));
    const limited = await setUp({ home: house.home, config: { backends } });
    await limited.write(10, { rank: 8 });
    await limited.write(20, { rank: 16 });
    await limited.write(30, { rank: 32 });
    limited.running.gateway.registry.moveAlias({ model: 'my-model', alias: 'champion', to: 10, who: 'test' });
    expect((await list(limited)).data).toMatchObject([
      { step: 10, names: expect.arrayContaining(['champion']), readyOn: ['gpu-0', 'gpu-1'], refusing: [] },
      { step: 20, readyOn: ['gpu-1'], refusing: [{ name: 'gpu-0', rankMax: 8 }] },
      { step: 30, readyOn: [], refusing: [{ name: 'gpu-0' }, { name: 'gpu-1' }] },
    ]);
    expect(steps(await list(limited, '?state=ready'))).toEqual([10, 20]);
  });

  test.each([
    ['?limit=0', '`limit`: a whole number'],
    ['?limit=x', '`limit`: a whole number'],
    ['?order=up', '`order`: asc or desc'],
    ['?state=odd', '`state`: one of all, live'],
    ['?where=loss', 'such as "eval_loss<0.5"'],
    ['?after=nobody', 'begin again without it'],
  ])('refuses %s with what to write', async (query, words) => {
    const house = await setUp({ engines: [] });
    await expect(list(house, query)).rejects.toThrow(words);
  });
});

test('a query that cannot be read is refused, with the parameter: it gave the default’s answer', async () => {
  const { running } = await setUp({ engines: [] });
  const admin = `${running.adminUrl}/admin/v1`;
  const asked: readonly [method: string, url: string, param: string][] = [
    ['GET', `${admin}/audit?limit=all`, 'limit'],
    ['GET', `${admin}/audit?before=-1`, 'before'],
    ['GET', `${admin}/models/my-model/history?limit=10001`, 'limit'],
    ['GET', `${running.url}/v1/models?limit=1e3`, 'limit'],
    ['DELETE', `${admin}/engines/mine?force=1`, 'force'],
  ];
  for (const [method, url, param] of asked) {
    const response = await fetch(url, { method });
    const answer = await response.json();
    expect([url, response.status, answer]).toMatchObject([url, 400, { error: { code: 'invalid_request', param } }]);
  }
});
