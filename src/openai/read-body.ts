// Reads a request's body into one buffer, under a limit. It must not look into the bytes.
import type { IncomingMessage } from 'node:http';
import { StepgateError } from '../errors.ts';

/** Rejects with `body_too_large` (the rest stays unread: answer, then `resume` it) or `client_closed`. */
export function readBody(incoming: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (Number(incoming.headers['content-length'] ?? 0) > bytesMax) return reject(bodyTooLarge(bytesMax));
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
      if (bytes > bytesMax) settle(bodyTooLarge(bytesMax));
      else chunks.push(chunk);
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
