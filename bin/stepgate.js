#!/usr/bin/env node
// The command line's first step: refuse an old Node in plain words, then run the sources (in a clone) or the build.
import './check-node.js';
import { existsSync } from 'node:fs';

const source = new URL('../src/main.ts', import.meta.url);
await import(existsSync(source) ? source.href : new URL('../dist/main.js', import.meta.url).href);
