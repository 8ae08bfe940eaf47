// The thread of examine.ts: examines the one adapter that it is told of, answers and ends. It opens no file.
import { readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { examineHere, type Held, type Told } from './examine.ts';
import type { Bytes } from './safetensors.ts';

const { files, config, weights, question } = workerData as Told;
parentPort?.postMessage(await examineHere({ ...files, config: bytesOf(config), weights: bytesOf(weights) }, question));

/** As of an `Original`: zeros where the file was cut meanwhile. */
function bytesOf(held: Held): Bytes {
  const read = async (position: number, length: number) => {
    if ('whole' in held) return Buffer.from(held.whole).subarray(position, position + length);
    const piece = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const count = readSync(held.fd, piece, done, length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return piece;
  };
  return { size: held.size, read };
}
