// Reads a request's body into one buffer, under a limit of its own and one that all share. It must not look into the bytes.
import type { IncomingMessage } from 'node:http';
import { StepgateError } from '../errors.ts';
import type { Held } from './body-budget.ts';

/**
 * Rejects with `body_too_large` or `no_capacity` (the rest stays unread: answer, then `resume` it) or `client_closed`. `held`, where it is given, is the
 * caller's to release.
 */
export function readBody(incoming: IncomingMessage, bytesMax: number, held?: Held): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const declared = Number(incoming.headers['content-length'] ?? 0);
    if (declared > bytesMax) return reject(bodyTooLarge(bytesMax));
    held?.announce(declared);
    if (incoming.destroyed) return reject(callerLeft());
    const chunks: Buffer[] = [];
    let bytes = 0;
    const settle = (error: StepgateError | undefined) => {
      incoming.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      // A late 'error' after 'close' must find a listener, or it would end the process.
      if (error === undefined) resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes));
      else {
        incoming.pause();
        incoming.on('error', () => {});
        reject(error);
      }
    };
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesMax) return settle(bodyTooLarge(bytesMax));
      try {
        held?.grow(chunk.length);
      } catch (thrown) {
        return settle(thrown as StepgateError);
      }
      chunks.push(chunk);
    };
    const onEnd = () => settle(undefined);
    const onGone = () => settle(callerLeft());
    incoming.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

export const callerLeft = () => new StepgateError('client_closed', 'The caller left before its body had arrived.');

export const bodyTooLarge = (bytesMax: number) =>
  new StepgateError(
    'body_too_large',
    `The body is over ${bytesMax} bytes. Send less, or raise \`limits.bodyBytesMax\`.`,
  );
