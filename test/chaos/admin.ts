// The run's own calls of the gateway's APIs: JSON in, status and JSON out. A gateway that is killed meanwhile is waited for and asked again, as
// every careful script would.
import { request } from 'undici';
import type { GatewayProcess } from './gateway.ts';

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  /** `error.code` of the catalogue; undefined: no error, or another's. */
  readonly code: string | undefined;
  /** Earlier attempts broke off: what they asked for may have been done. */
  readonly retried: boolean;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** At the public listener. */
  readonly isPublic?: boolean;
}

const CALL_MS_MAX = 30_000;

export async function call(gateway: GatewayProcess, { method, path, body, isPublic = false }: Call): Promise<Reply> {
  for (let attempt = 1; ; attempt += 1) {
    await gateway.isUp;
    const kills = gateway.downs.length;
    try {
      const answer = await request(`${isPublic ? gateway.url : gateway.adminUrl}${path}`, {
        method,
        // A connection of its own: one that a dead gateway left behind would fail a call that nobody has read.
        reset: true,
        headersTimeout: CALL_MS_MAX,
        bodyTimeout: CALL_MS_MAX,
        headers: { ...gateway.authorization, 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await answer.body.text();
      const json = parsed(text);
      const code = (json as { error?: { code?: unknown } })?.error?.code;
      const reply = {
        status: answer.statusCode,
        body: json,
        code: typeof code === 'string' ? code : undefined,
        retried: attempt > 1,
      };
      if (reply.code !== 'shutting_down') return reply;
    } catch (error) {
      if (gateway.downs.length === kills && (gateway.downs.at(-1)?.until ?? 0) < performance.now()) {
        throw new Error(`${method} ${path} broke off while the gateway was well: ${error}`);
      }
    }
    await gateway.isUp;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
