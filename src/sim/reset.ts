// How a connection ends when its process dies.
import type { Socket } from 'node:net';

/**
 * Resets it. One that was ended in this very tick is only closed: Node (24.21) answers EINVAL there and never closes it, and its process spins at
 * its end, waiting for that.
 */
export function reset(socket: Socket | null): void {
  if (socket?.writableEnded === true) socket.destroy();
  else socket?.resetAndDestroy();
}
