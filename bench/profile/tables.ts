// A CPU profile as tables: who spent the time, by package and by function. Pure: a profile in, text out.

export interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  /** The node that ran at each sample, and the us since the one before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface Frame {
  /** stepgate's file, a package, a part of Node, or what V8 puts in parentheses. */
  readonly owner: string;
  readonly name: string;
  readonly selfUs: number;
  readonly parent: Frame | undefined;
}

/** `src/exchange.ts`, `undici`, `node:http`, `(native)`. */
function ownerOf(url: string, functionName: string): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native)';
  const internal = /^node:(?:internal\/)?_?([a-z]+)/.exec(url);
  if (internal !== null) return `node:${internal[1]}`;
  const installed = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url);
  return installed?.[1] ?? url.replace(/^.*\/(?=src\/)/, '');
}

/** `(program)` is native code that no JavaScript frame is seen for: system calls, libuv, the HTTP parser between callbacks. */
const IDLE = '(idle)';

function framesOf({ nodes, samples, timeDeltas }: Profile): Frame[] {
  const selfUs = new Map<number, number>();
  // The first delta is from the profiler's start.
  for (const [i, id] of samples.entries()) selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, timeDeltas[i + 1] ?? 0));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const frames = new Map<number, Frame>();
  const frame = (id: number): Frame | undefined => {
    const [known, node] = [frames.get(id), byId.get(id)];
    if (known !== undefined || node === undefined) return known;
    const { functionName, url, lineNumber } = node.callFrame;
    const parent = frame(parents.get(id) ?? -1);
    const at = url === '' ? '' : `:${lineNumber + 1}`;
    const owner = ownerOf(url, functionName);
    const made = {
      owner,
      name: `${functionName || '(anonymous)'} ${fileOf(url)}${at}`,
      selfUs: selfUs.get(id) ?? 0,
      parent,
    };
    frames.set(id, made);
    return made;
  };
  return nodes.flatMap(({ id }) => frame(id) ?? []).filter(({ owner }) => owner !== IDLE);
}

const fileOf = (url: string): string => url.replace(/^.*\/(?=src\/)|^.*\/node_modules\/|^node:/, '');

/** The frame that is to answer for this one: the nearest that is no part of Node. */
function answerable(frame: Frame): Frame {
  const isNodes = ({ owner }: Frame): boolean => owner.startsWith('node:') || owner === '(native)';
  let at: Frame = frame;
  while (isNodes(at) && at.parent !== undefined && at.parent.owner !== '(root)') at = at.parent;
  return isNodes(at) ? frame : at;
}

function table(
  title: string,
  us: ReadonlyMap<string, number>,
  { cpuUs, rows }: { cpuUs: number; rows: number },
): string {
  const total = [...us.values()].reduce((sum, one) => sum + one, 0);
  const lines = [...us]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, rows)
    .map(([name, self]) => {
      const share = self / total;
      return `${(100 * share).toFixed(1).padStart(6)} % ${(share * cpuUs).toFixed(2).padStart(8)} us  ${name}`;
    });
  return [`\n${title}`, ...lines].join('\n');
}

function sums(frames: readonly Frame[], key: (frame: Frame) => string): Map<string, number> {
  const us = new Map<string, number>();
  for (const frame of frames) us.set(key(frame), (us.get(key(frame)) ?? 0) + frame.selfUs);
  return us;
}

const groupOf = (owner: string): string =>
  owner.startsWith('src/') ? 'stepgate' : owner.startsWith('node:') ? "Node's own JavaScript" : owner;

/** `cpuUs`: what a request costs, over which the shares are spread. */
export function tablesOf(profile: Profile, cpuUs: number): string {
  const frames = framesOf(profile);
  const of = (rows: number) => ({ cpuUs, rows });
  return [
    table(
      'Self time by package (us per request)',
      sums(frames, ({ owner }) => groupOf(owner)),
      of(15),
    ),
    table(
      'By file of ours, package, or part of Node',
      sums(frames, ({ owner }) => owner),
      of(30),
    ),
    table(
      'The same, with the time of Node under whoever called it',
      sums(frames, (one) => answerable(one).owner),
      of(25),
    ),
    table(
      'By function',
      sums(frames, ({ name }) => name),
      of(40),
    ),
  ].join('\n');
}
