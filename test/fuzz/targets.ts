// The table of what is fuzzed: a new target is a file here and a row below.
import { adapters, states } from './adapters.ts';
import { bodies } from './bodies.ts';
import { configs } from './configs.ts';
import { forms } from './forms.ts';
import { headers, keys } from './keys.ts';
import { metrics, refusals } from './metrics.ts';
import { ids, names } from './names.ts';
import { repeats } from './repeats.ts';
import { sources } from './sources.ts';
import { streams } from './streams.ts';
import type { Target } from './target.ts';
import { weights } from './weights.ts';

export const TARGETS: readonly Target[] = [
  names,
  ids,
  bodies,
  forms,
  keys,
  headers,
  metrics,
  refusals,
  sources,
  streams,
  weights,
  states,
  configs,
  adapters,
  repeats,
];
