// The config's keys for what a request may cost, and all of them together: part of the schema in config-schema.ts.
// docs/limits.md says what happens at each, and what else is bounded without a key.
import { count, ms, section } from './config-parts.ts';

export const limits = section('What requests may cost; see docs/limits.md.', {
  bodyBytesMax: count(33_554_432, 1_073_741_824, 'Bytes of a request body; more is answered 413.'),
  bufferedBytesMax: count(
    1_073_741_824,
    1_099_511_627_776,
    'Bytes of all bodies that are held at once, those of waiting requests too; more is answered 429.',
  ),
  headerBytesMax: count(65_536, 1_048_576, 'Bytes of request headers; more is answered 431. A change needs a restart.'),
  headMsMax: ms(
    5_000,
    'Until the head of a request has come; then 408, and the connection is closed. A change needs a restart.',
  ),
  bodyMsMax: ms(60_000, 'Until the body has come, besides `waitMsMax`; then 408, and the connection is closed.'),
  connectionsMax: count(16_384, 1_000_000, 'Connections to each listener; one more is closed at once.'),
  queueMax: count(10_000, 1_000_000, 'Requests that wait for an adapter or for room; more are answered 429.'),
  queuePerCheckpointMax: count(
    10_000,
    1_000_000,
    'Of them, those for one checkpoint, or for a base itself; more are answered 429.',
  ),
  waitMsMax: ms(
    240_000,
    "A request's wait for an adapter; then 429. Keep it under the 300 s after which many clients give up.",
  ),
})
  .refine(({ bodyBytesMax, bufferedBytesMax }) => bodyBytesMax <= bufferedBytesMax, {
    path: ['bufferedBytesMax'],
    when: ({ issues }) => issues.length === 0, // one mistake is told once
    message: 'is under bodyBytesMax, so the largest bodies could never be taken; raise it, or lower bodyBytesMax',
  })
  .prefault({});
