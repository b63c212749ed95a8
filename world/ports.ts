/** TCP ports of a world: chosen free once, kept in its folder, because the extension and the certificates name them. */
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as v from 'valibot';
import { claimPort } from './port-claims.ts';
import { readText, writeWhole } from './pki-store.ts';

const PORT_NAMES = ['shop', 'secondShop', 'application', 'enrolment', 'security', 'information', 'simReader'] as const;
export type PortName = (typeof PORT_NAMES)[number];
export type Ports = Readonly<Record<PortName, number>>;

const portSchema = v.pipe(v.number(), v.integer(), v.minValue(1024), v.maxValue(65_535));
const portsSchema = v.strictObject(Object.fromEntries(PORT_NAMES.map((name) => [name, portSchema])) as Record<PortName, typeof portSchema>);

/** The ports of the world in `folder`; new ones if there are none yet or another program has taken one meanwhile. */
export async function ensurePorts(folder: string): Promise<Ports> {
  const file = join(folder, 'ports.json');
  const text = await readText(file);
  const kept = text === undefined ? undefined : v.parse(portsSchema, JSON.parse(text));
  if (kept !== undefined && (await areFree(Object.values(kept))) && (await Promise.all(Object.values(kept).map((port) => claimPort(port)))).every(Boolean)) return kept;
  const free = await freePorts(PORT_NAMES.length);
  const chosen = Object.fromEntries(PORT_NAMES.map((name, i) => [name, free[i]])) as Ports;
  await writeWhole(file, JSON.stringify(chosen), 'replace');
  return chosen;
}

async function areFree(ports: readonly number[]): Promise<boolean> {
  const held = await Promise.allSettled(ports.map(listenOn));
  for (const result of held) if (result.status === 'fulfilled') await result.value.close();
  return held.every((result) => result.status === 'fulfilled');
}

/** Below the range from which systems give ports to outgoing connections and to whoever asks for any: nobody takes ours while we are away. */
const RANGE = { first: 20_000, count: 12_000 };
const MAX_TRIES = 200;

/** All held at once, so that no port is given twice. */
async function freePorts(count: number): Promise<number[]> {
  const held: Listener[] = [];
  try {
    for (let tries = 0; held.length < count; tries++) {
      if (tries === MAX_TRIES) throw new Error('no free TCP ports on 127.0.0.1');
      const port = RANGE.first + Math.floor(Math.random() * RANGE.count);
      const listener = await listenOn(port).catch(() => undefined); // taken: another one
      if (listener === undefined) continue;
      if (await claimPort(port)) held.push(listener);
      else await listener.close();
    }
    return held.map((listener) => listener.port);
  } finally {
    await Promise.all(held.map((listener) => listener.close()));
  }
}

interface Listener {
  readonly port: number;
  close(): Promise<void>;
}

function listenOn(port: number): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1' }, () => {
      resolve({ port: (server.address() as AddressInfo).port, close: () => new Promise((closed) => server.close(() => closed())) });
    });
  });
}
