// The families of vLLM's GET /metrics that a gateway reads, with its labels. What they count is told from outside.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from './clock.ts';

const SECONDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];

export interface MetricsOptions {
  readonly base: string;
  readonly maxLoras: number;
  /** Unix seconds; another value means another process. */
  readonly startedAtS: number;
  readonly clock: Clock;
  /** Asked at each scrape. */
  readonly now: () => { running: number; waiting: number };
}

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics({ base, maxLoras, startedAtS, clock, now }: MetricsOptions) {
  const registry = new Registry();
  const registers = [registry];
  const labels = { engine: '0', model_name: base };
  const labelNames = Object.keys(labels);
  const counter = (name: string, help: string) => {
    const made = new Counter({ name, help, labelNames, registers });
    made.inc(labels, 0);
    return (by = 1) => made.inc(labels, by);
  };
  const seconds = (name: string, help: string) => {
    const made = new Histogram({ name, help, labelNames, buckets: SECONDS, registers });
    made.zero(labels);
    return (ms: number) => made.observe(labels, ms / 1000);
  };
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.set(labels, value());
      },
    });

  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start time of the process since unix epoch in seconds.',
    registers,
  }).set(startedAtS);
  gauge('vllm:num_requests_running', 'Number of requests in model execution batches.', () => now().running);
  gauge('vllm:num_requests_waiting', 'Number of requests waiting to be processed.', () => now().waiting);
  gauge('vllm:kv_cache_usage_perc', 'KV-cache usage. 1 means 100 percent usage.', () => 0);
  // Absent until the first step. Every combination of names leaves a series behind for good, as in vLLM; read the newest.
  const loraInfo = new Gauge({
    name: 'vllm:lora_requests_info',
    help: 'Running stats on lora requests.',
    labelNames: ['max_lora', 'running_lora_adapters', 'waiting_lora_adapters'],
    registers,
  });

  return {
    text: () => registry.metrics(),
    /** After each engine step: the adapters that run. Both labels tell the same set; one that only waits is in neither. */
    step: (adapters: readonly string[]) => {
      const names = adapters.join(',');
      const set = { max_lora: String(maxLoras), running_lora_adapters: names, waiting_lora_adapters: names };
      loraInfo.set(set, clock.unixS());
    },
    promptTokens: counter('vllm:prompt_tokens_total', 'Number of prefill tokens processed.'),
    generationTokens: counter('vllm:generation_tokens_total', 'Number of generation tokens processed.'),
    prefixQueries: counter('vllm:prefix_cache_queries_total', 'Prefix cache queries, in number of queried tokens.'),
    prefixHits: counter('vllm:prefix_cache_hits_total', 'Prefix cache hits, in number of cached tokens.'),
    preemptions: counter('vllm:num_preemptions_total', 'Cumulative number of preemptions from the engine.'),
    firstToken: seconds('vllm:time_to_first_token_seconds', 'Histogram of time to first token in seconds.'),
    interToken: seconds('vllm:inter_token_latency_seconds', 'Histogram of inter-token latency in seconds.'),
    endToEnd: seconds('vllm:e2e_request_latency_seconds', 'Histogram of e2e request latency in seconds.'),
  };
}
