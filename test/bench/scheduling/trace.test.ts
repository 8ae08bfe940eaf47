// Traces come from elsewhere: columns in any order, and a mistake is named with its line.
import { expect, test } from 'vitest';
import { parseTrace } from '../../../bench/scheduling/trace.ts';

test('reads requests in order of time, from the first one on, whatever the order of columns', () => {
  const requests = parseTrace(
    'model,time,class,prompt tokens,output_tokens,step,region\nb,12.5,eval,100,20,7,eu\na,10,,5,0,,us\n',
  );
  expect(requests).toEqual([
    {
      at: 0,
      model: 'a',
      step: undefined,
      promptTokens: 5,
      outputTokens: 1,
      class: 'interactive',
      tenant: 'a',
      session: undefined,
    },
    {
      at: 2500,
      model: 'b',
      step: 7,
      promptTokens: 100,
      outputTokens: 20,
      class: 'eval',
      tenant: 'b',
      session: undefined,
    },
  ]);
});

test.each([
  ['time,model\n', /lacks prompt_tokens, output_tokens/],
  ['time,model,step,prompt_tokens,output_tokens,class\n1,m,,x,2,\n', /line 2 .*prompt_tokens .*"x"/],
  ['time,model,step,prompt_tokens,output_tokens,class\n1,m,,1,2,batch\n', /line 2 .*interactive, rollout, eval/],
  ['time,model,step,prompt_tokens,output_tokens,class\n1,,,1,2,eval\n', /line 2 .*model is empty/],
])('says what is wrong with %j', (text, message) => {
  expect(() => parseTrace(text)).toThrow(message);
});
