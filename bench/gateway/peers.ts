// The gateways that stepgate is compared with: where each comes from, how it is installed (into .peers beside this file) and started.
// A peer is set up as its manual says for one process in front of one engine, with its logs, telemetry and databases off.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const HOME = new URL('.peers', import.meta.url).pathname;
const PYTHON = join(HOME, 'python', 'bin');
const PORTKEY = join(HOME, 'node', 'node_modules', '@portkey-ai', 'gateway');

export interface Site {
  /** A directory of its own. */
  readonly dir: string;
  readonly enginePort: number;
  readonly port: number;
  /** Another free one, for peers that want it. */
  readonly sparePort: number;
  /** The only model. */
  readonly model: string;
}

export interface Peer {
  /** Of what is installed, which may be another than was asked for; throws where nothing is. */
  readonly version: string;
  /** Undefined: it is there. Else what to do about it. */
  missing(): string | undefined;
  install?(): void;
  /** Writes its config. */
  start(site: Site): { command: string[]; env?: Record<string, string>; headers?: Record<string, string> };
}

const which = (program: string): string | undefined => {
  try {
    return execFileSync('which', [program], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
};

/** Programs that come with the system. */
export function missingProgram(program: string, pkg: string): string | undefined {
  return which(program) === undefined ? `${program} is not on the PATH: apt-get install ${pkg}` : undefined;
}

const run = (program: string, args: readonly string[]): void => {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
};

function pip(requirement: string): void {
  if (!existsSync(PYTHON)) run('python3', ['-m', 'venv', join(HOME, 'python')]);
  run(join(PYTHON, 'pip'), ['install', '--quiet', requirement]);
}

const pythonVersion = (pkg: string): string => {
  const code = `from importlib.metadata import version; print(version('${pkg}'))`;
  return execFileSync(join(PYTHON, 'python'), ['-c', code], { encoding: 'utf8' }).trim();
};

const absent = (file: string): string | undefined => (existsSync(file) ? undefined : `${file} is not there`);

const ROUTER = '0.1.17';
/** The newest whose requirements are all in the registry. */
const LITELLM = '1.106.2';
/** Answers every stream 500 (`TypeError: immutable`, https://github.com/Portkey-AI/gateway/issues/1389): it is left out of those. */
const PORTKEY_VERSION = '1.15.2';

export const PEERS: Readonly<Record<string, Peer>> = {
  nginx: {
    get version() {
      // It says so on stderr.
      return execFileSync('sh', ['-c', 'nginx -v 2>&1'], { encoding: 'utf8' }).trim().replace(/^.*\//, '');
    },
    missing: () => missingProgram('nginx', 'nginx-light'),
    start: (site) => {
      const config = join(site.dir, 'nginx.conf');
      writeFileSync(config, nginxConfig(site));
      return { command: ['nginx', '-e', join(site.dir, 'error.log'), '-c', config] };
    },
  },
  'vllm-router': {
    get version() {
      return pythonVersion('vllm-router');
    },
    missing: () => absent(join(PYTHON, 'vllm-router')),
    install: () => pip(`vllm-router==${ROUTER}`),
    start: ({ port, sparePort, enginePort }) => {
      const at = ['--host', '127.0.0.1', '--port', String(port), '--prometheus-port', String(sparePort)];
      // The cheapest of its policies.
      const how = [
        '--worker-urls',
        `http://127.0.0.1:${enginePort}`,
        '--policy',
        'round_robin',
        '--log-level',
        'error',
      ];
      return { command: [join(PYTHON, 'vllm-router'), ...at, ...how] };
    },
  },
  litellm: {
    get version() {
      return pythonVersion('litellm');
    },
    missing: () => absent(join(PYTHON, 'litellm')),
    install: () => pip(`litellm[proxy]==${LITELLM}`),
    start: ({ dir, port, enginePort, model }) => {
      const config = join(dir, 'litellm.json');
      const params = { model: `openai/${model}`, api_base: `http://127.0.0.1:${enginePort}/v1`, api_key: 'none' };
      writeFileSync(
        config,
        JSON.stringify({
          model_list: [{ model_name: model, litellm_params: params }],
          litellm_settings: { telemetry: false, set_verbose: false, num_retries: 0 },
          // No keys, as for the others: it listens on loopback, and checking one would cost it.
          general_settings: { dangerously_permit_weak_or_unset_master_key: true },
        }),
      );
      const at = ['--host', '127.0.0.1', '--port', String(port), '--num_workers', '1', '--telemetry', 'False'];
      const env = { LITELLM_LOG: 'ERROR', LITELLM_MODE: 'PRODUCTION', LITELLM_LOCAL_MODEL_COST_MAP: 'True' };
      return { command: [join(PYTHON, 'litellm'), '--config', config, ...at], env };
    },
  },
  portkey: {
    get version() {
      return JSON.parse(readFileSync(join(PORTKEY, 'package.json'), 'utf8')).version;
    },
    missing: () => absent(PORTKEY),
    install: () => {
      mkdirSync(join(HOME, 'node'), { recursive: true });
      const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--silent'];
      run('npm', ['install', ...quiet, '--prefix', join(HOME, 'node'), `@portkey-ai/gateway@${PORTKEY_VERSION}`]);
    },
    start: ({ port, enginePort }) => ({
      command: [process.execPath, join(PORTKEY, 'build', 'start-server.js'), `--port=${port}`, '--headless'],
      env: { NODE_ENV: 'production' },
      headers: {
        'x-portkey-provider': 'openai',
        'x-portkey-custom-host': `http://127.0.0.1:${enginePort}/v1`,
        authorization: 'Bearer none',
      },
    }),
  },
};

const nginxConfig = ({ dir, enginePort, port }: Site): string => `
daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  client_max_body_size 32m; client_body_buffer_size 2m;
  upstream engine { server 127.0.0.1:${enginePort}; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port}; keepalive_requests 1000000000;
    location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}`;
