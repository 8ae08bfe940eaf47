// Plain JavaScript that any Node can parse: says what to do when it does not run on the Node that `npm ci` brings.
import { existsSync } from 'node:fs';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 22 || (major === 22 && minor < 19)) {
  const isThere = existsSync(new URL('../node_modules/node/bin/node', import.meta.url));
  const mend = isThere
    ? ['Node 24 is under node_modules already: start commands through npm, which finds it:']
    : [
        'In a clone, "npm ci" installs Node 24 under node_modules by the install script of the package "node".',
        'It was not run (--ignore-scripts, or a policy against install scripts). To mend it:',
        '  npm rebuild node --ignore-scripts=false',
        'and start commands through npm:',
      ];
  console.error(
    [
      `stepgate needs Node 22.19 or newer and this is Node ${process.versions.node}.`,
      ...mend,
      '  npm run demo, npm test, npx stepgate ...',
    ].join('\n'),
  );
  process.exit(1);
}
