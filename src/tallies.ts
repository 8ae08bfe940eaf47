// Counts and histograms of the hot path, kept in plain numbers and handed to prom-client when it is scraped: its own `inc` and `observe` check,
// sort and hash the labels at every call, which cost 8 us of a request's 75. Declares no metric: metrics.ts does.
import { Counter, type CounterConfiguration, Histogram, type HistogramConfiguration } from 'prom-client';

/** Remembers what was made for a key: looking labels up costs several times what counting does. */
export function remembered<K extends string, T>(make: (key: K) => T): (key: K) => T {
  const known = new Map<K, T>();
  return (key) => {
    let found = known.get(key);
    if (found === undefined) {
      found = make(key);
      known.set(key, found);
    }
    return found;
  };
}

/** One label set's count since the last scrape. */
export class Count {
  value = 0;
  inc(): void {
    this.value++;
  }
}

/** A counter, two labels deep. */
export function tallied<A extends string, B extends string>({
  labelNames,
  ...rest
}: Omit<CounterConfiguration<string>, 'labelNames'> & { readonly labelNames: readonly [A, B] }): (
  a: string,
  b: string,
) => Count {
  const [first, second] = labelNames;
  const all: { readonly labels: Record<string, string>; readonly count: Count }[] = [];
  new Counter<string>({
    ...rest,
    labelNames: [first, second],
    collect() {
      for (const { labels, count } of all) {
        if (count.value > 0) this.inc(labels, count.value);
        count.value = 0;
      }
    },
  });
  const of = remembered((a: string) =>
    remembered((b: string) => {
      const count = new Count();
      all.push({ labels: { [first]: a, [second]: b }, count });
      return count;
    }),
  );
  return (a, b) => of(a)(b);
}

/** One label set's observations, as Prometheus cumulates them: a bucket holds what is less than or equal to its bound. */
export class Distribution {
  readonly #bounds: readonly number[];
  readonly buckets: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.buckets = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.count++;
    const bounds = this.#bounds;
    for (let at = 0; at < bounds.length; at++) {
      if (value > (bounds[at] as number)) continue;
      (this.buckets[at] as number)++;
      return;
    }
  }
}

type TalliedConfiguration = HistogramConfiguration<string> & { labelNames: [string]; buckets: number[] };

/** A histogram with one label, which prom-client only prints. */
export class TalliedHistogram extends Histogram<string> {
  readonly #configuration: TalliedConfiguration;
  readonly #all: { readonly of: string; readonly seen: Distribution }[] = [];
  readonly of = remembered((of: string): Distribution => {
    const seen = new Distribution(this.#configuration.buckets);
    this.#all.push({ of, seen });
    return seen;
  });

  constructor(configuration: TalliedConfiguration) {
    super(configuration);
    this.#configuration = configuration;
  }

  override async get() {
    const { name, help } = this.#configuration;
    const values = this.#all.flatMap(({ of, seen }) => this.#lines(of, seen));
    return { name, help, type: 'histogram' as never, aggregator: 'sum' as const, collect: () => {}, values };
  }

  /** What prom-client's registry asks for where a metric has it. */
  getForPromString() {
    return this.get();
  }

  #lines(of: string, { buckets, sum, count }: Distribution) {
    const { name, labelNames, buckets: bounds } = this.#configuration;
    const labels = { [labelNames[0]]: of };
    let upTo = 0;
    const row = (suffix: string, value: number, more: Record<string, string | number> = {}) => ({
      metricName: `${name}_${suffix}`,
      labels: { ...more, ...labels },
      value,
    });
    return [
      ...bounds.map((le, at) => {
        upTo += buckets[at] as number;
        return row('bucket', upTo, { le });
      }),
      row('bucket', count, { le: '+Inf' }),
      row('sum', sum),
      row('count', count),
    ];
  }
}
