// Node's inspector of a process under measurement: its heap after a collection, its CPU profile. Speaks the Chrome DevTools protocol.
// A debugger that is not attached costs nothing; it is attached only while something is asked.

export class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #asked = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const { id, result, error } = JSON.parse(String(data));
      if (error !== undefined) throw new Error(`the inspector refused: ${error.message}`);
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  static async attach(port: number): Promise<Inspector> {
    const [target] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
      webSocketDebuggerUrl: string;
    }[];
    if (target === undefined) throw new Error(`no Node process listens for an inspector on port ${port}`);
    const socket = new WebSocket(target.webSocketDebuggerUrl);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', () => reject(new Error('the inspector does not answer')));
    });
    return new Inspector(socket);
  }

  /** `T` is what the protocol says the method returns. */
  ask<T>(method: string, params: object = {}): Promise<T> {
    const id = ++this.#asked;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return promise as Promise<T>;
  }

  /** Bytes of the heap that are in use once what is unreachable was collected, twice: finalizers free more. */
  async heapBytes(): Promise<number> {
    await this.ask('HeapProfiler.collectGarbage');
    await this.ask('HeapProfiler.collectGarbage');
    const { usedSize } = await this.ask<{ usedSize: number }>('Runtime.getHeapUsage');
    return usedSize;
  }

  close(): void {
    this.#socket.close();
  }
}
