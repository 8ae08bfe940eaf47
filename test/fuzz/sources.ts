// The sources of adapters: texts of callers that become requests of the gateway. What is allowed is asked of another reader of the same text.
import { ok } from 'node:assert/strict';
import fc from 'fast-check';
import { StepgateError } from '../../src/errors.ts';
import { isAllowed, PATTERN } from '../../src/sources/allow.ts';
import { parseSource, print, type Source, subjectOf } from '../../src/sources/uri.ts';
import { damagedText } from './damage.ts';
import { same, type Target } from './target.ts';

const valid = fc.constantFrom(
  'hf:my-org/lora',
  'hf:my-org/lora/runs/checkpoint-5@v1.0',
  's3://ckpts/runs/my-model/5',
  'mlflow:models:/name/5',
  'mlflow:models:/name@champion/peft',
  'wandb:team/runs/my-model:v3',
  'https://models.example.com/a/b?sig=1',
  'https://models.example.com:8443/a/../b.tar.gz',
);
const ALLOW = ['hf:my-org', 's3://ckpts/runs/', 'https://models.example.com/a'];

function read(text: string): Source | undefined {
  try {
    return parseSource(text);
  } catch (error) {
    ok(error instanceof StepgateError && error.code === 'invalid_request' && error.param === 'source', String(error));
    return undefined;
  }
}

/** Whether what will be asked for lies under what ALLOW means, by the requests themselves. */
function isUnder(source: Source): boolean {
  switch (source.kind) {
    case 'hf':
      return new URL(`https://hub/${source.repo}/resolve/${source.folder}`).pathname.startsWith('/my-org/');
    case 's3':
      return /^\/ckpts\/runs(\/|$)/.test(new URL(`https://s3/${source.bucket}/${encodeURI(source.folder)}`).pathname);
    case 'https': {
      const { origin, pathname } = new URL(`${source.url}/adapter_config.json`);
      return origin === 'https://models.example.com' && pathname.startsWith('/a/');
    }
    default:
      return false;
  }
}

export const sources: Target = {
  name: 'sources',
  promise: 'a source is refused, or asks for nothing but what the config allows; what was printed parses to the same',
  slice: 4_000,
  property: () =>
    fc.property(damagedText(valid, '@:/.*%#?\\ '), (text) => {
      const source = read(text);
      if (source === undefined) return;
      const again = read(print(source));
      ok(again !== undefined, print(source));
      same(print(again), print(source));
      const subject = subjectOf(source);
      if (PATTERN.test(subject) && !subject.includes('*')) ok(isAllowed([subject], subject), subject);
      if (source.kind === 'https' && source.isArchive) return;
      if (isAllowed(ALLOW, subject)) ok(isUnder(source), subject);
    }),
};
