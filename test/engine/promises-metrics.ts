// Promises about what an engine tells of itself: health, version, metrics.
import { describe, expect, test } from 'vitest';
import { asked, type EngineClient, poll } from './client.ts';
import type { Given } from './conformance.ts';

const LORA_INFO = 'vllm:lora_requests_info';

export function metricPromises({ engine, client, adapter, name }: Given): void {
  describe('what it tells of itself', () => {
    test('lora_requests_info has no series before the first step', async ({ skip }) => {
      if (!engine().fresh) skip('the engine has served before');
      expect(await series(client())).toEqual([]);
      const { text } = await client().get('/metrics');
      expect(text).toContain(`# TYPE ${LORA_INFO} gauge`);
    });

    test('a request to the base alone makes max_lora known', async () => {
      const response = await client().post('/v1/completions', asked(engine().base, 2));
      expect(response.status).toBe(200);
      await poll('a series of lora_requests_info', 2_000, async () => (await series(client())).length > 0);
      for (const line of await series(client())) expect(line).toContain(`max_lora="${engine().slots}"`);
    });

    test('lora_requests_info names the adapters that run, by unix time, and keeps every combination', async () => {
      const [first, second] = [name(), name()];
      await client().load(first, adapter(0));
      await client().load(second, adapter(1));
      const streams = [await client().longStream(first, 900), await client().longStream(second, 900)];
      await Promise.all(streams.map((stream) => stream.until(2)));
      const both = `running_lora_adapters="${[first, second].sort().join(',')}"`;
      await poll('both adapters in the label', 5_000, async () =>
        (await series(client())).some((line) => sortedNames(line).includes(both)),
      );
      expect(await client().metric('vllm:num_requests_running')).toBe(2);
      for (const stream of streams) stream.leave();
      await poll('nothing running', 5_000, async () => (await client().metric('vllm:num_requests_running')) === 0);
      const line = (await series(client())).find((one) => sortedNames(one).includes(both)) ?? '';
      expect(Math.abs(Number(line.slice(line.lastIndexOf(' '))) - Date.now() / 1000)).toBeLessThan(60);
    });

    test('the metrics hold the families that stepgate reads', async () => {
      for (const family of [
        'vllm:num_requests_running',
        'vllm:num_requests_waiting',
        'vllm:kv_cache_usage_perc',
        'vllm:prompt_tokens_total',
        'vllm:generation_tokens_total',
        'vllm:prefix_cache_queries_total',
        'vllm:prefix_cache_hits_total',
        'vllm:num_preemptions_total',
        'vllm:time_to_first_token_seconds_count',
        'vllm:inter_token_latency_seconds_count',
        'vllm:e2e_request_latency_seconds_count',
      ]) {
        expect(await client().metric(family), family).toBeTypeOf('number');
      }
      const startedAt = await client().metric('process_start_time_seconds');
      expect(startedAt).toBeGreaterThan(Date.now() / 1000 - 86_400);
      expect(startedAt).toBeLessThan(Date.now() / 1000 + 1);
      const { text } = await client().get('/metrics');
      expect(text).toMatch(new RegExp(`vllm:num_requests_running\\{engine="0",model_name="${engine().base}"\\}`));
    });

    test.each(['/health', '/ping'])('GET %s is 200 and empty', async (path) => {
      expect(await client().get(path)).toMatchObject({ status: 200, text: '' });
    });

    test('GET /version and /load', async () => {
      expect(JSON.parse((await client().get('/version')).text)).toEqual({
        version: expect.stringMatching(/^\d+\.\d+/),
      });
      expect(JSON.parse((await client().get('/load')).text)).toEqual({ server_load: 0 });
    });

    test.each(['/nothing', '/v1/models/base'])('an unknown route is 404 with a detail: %s', async (path) => {
      const { status, text } = await client().get(path);
      expect({ status, body: JSON.parse(text) }).toEqual({ status: 404, body: { detail: 'Not Found' } });
    });
  });
}

const series = async (client: EngineClient): Promise<string[]> =>
  (await client.get('/metrics')).text.split('\n').filter((line) => line.startsWith(`${LORA_INFO}{`));

/** The order of the names in the label is that of the batch. */
const sortedNames = (line: string): string =>
  line.replace(
    /running_lora_adapters="([^"]*)"/,
    (_, names: string) => `running_lora_adapters="${names.split(',').sort().join(',')}"`,
  );
