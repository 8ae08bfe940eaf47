// The gateway that is measured, in a process of its own: reads its config from the first argument, tells its parent its address, ends with it.
import pino from 'pino';
import { parseConfig } from '../../src/config.ts';
import { start } from '../../src/serve.ts';

const config = parseConfig(process.argv[2] ?? '', { file: undefined });
// Lines are made, as they are in service, but nobody reads them.
const running = await start(config, { log: pino({ level: 'info' }, pino.destination('/dev/null')) });
process.send?.(running.url);
process.once('disconnect', () => void running.close({ now: true }));
