#!/usr/bin/env node
/** kessai-host: from the sources where this is the project itself, otherwise as it was built for publication. */
import { existsSync } from 'node:fs';

const sources = new URL('../kessai-host.ts', import.meta.url);
if (existsSync(sources)) {
  const tsx = await import('tsx/esm/api');
  tsx.register();
  await import(sources.href);
} else {
  await import(new URL('dist/kessai-host.mjs', import.meta.url).href);
}
