// Every contender, in the order of the table.
import type { Contender } from '../types.ts';
import { affinityLru } from './affinity-lru.ts';
import { aibrix } from './aibrix.ts';
import { boundedHash } from './bounded-hash.ts';
import { chameleon } from './chameleon.ts';
import { dlora } from './dlora.ts';
import { llmD } from './llm-d.ts';
import { lorax } from './lorax.ts';
import { randomLru } from './random-lru.ts';
import { stepgate } from './stepgate.ts';
import { cached, vllmAlone } from './vllm-alone.ts';

export const CONTENDERS: readonly Contender[] = [
  cached,
  stepgate,
  vllmAlone,
  randomLru,
  boundedHash,
  affinityLru,
  llmD,
  aibrix,
  lorax,
  dlora,
  chameleon,
];
