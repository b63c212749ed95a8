/** Everything that a payment needs, on one machine: database, certificates, servers, reader and card; started in order, ended in reverse. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import productPackage from '../package.json' with { type: 'json' };
import { writeWhole } from './pki-store.ts';
import { ensurePki, type Pki } from './pki.ts';
import { ensurePorts, type Ports } from './ports.ts';
import { SERVER_DATABASES, startPostgres, type Postgres } from './postgres.ts';
import { startServer, type ServerPlan, type ServerProcess, type WorldEvents } from './server-process.ts';
import { settlementOrigins, settlementPlans, trustFiles, type ClientCertificates, type Origins } from './settlement.ts';
import { holdWorld } from './world-lock.ts';
import { shopPlan } from './shop-plan.ts';
import { shopParameters, shopsOf, type ShopOfWorld } from './shops.ts';
import { writeDeskSettings, type DeskSettings } from './desk-settings.ts';

export interface WorldOptions {
  /** Everything of this world lies below it; the same folder gives the same world again. */
  readonly folder: string;
  /** The settlement's three servers in one process. */
  readonly merged?: boolean;
  readonly clientCertificates?: ClientCertificates;
  /** A second shop beside the first. */
  readonly secondShop?: boolean;
  readonly events: WorldEvents;
  /** Progress, a line at a time. */
  readonly log?: (line: string) => void;
}

export interface World {
  readonly folder: string;
  readonly pki: Pki;
  readonly ports: Ports;
  readonly postgres: Postgres;
  readonly origins: Origins;
  readonly shops: readonly ShopOfWorld[];
  readonly desk: DeskSettings;
  /** JSON file with what is built into the extension. */
  readonly deploymentFile: string;
  /** By name: information, security, application (or settlement), shop, shop-midori. */
  readonly servers: ReadonlyMap<string, ServerProcess>;
  /** For tests: starts a server again that was stopped or killed. */
  restart(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** `interfaceProgram`: the built script that shops serve (ST5). Fails with WorldInUseError where another process runs a world in this folder. */
export async function startWorld(options: WorldOptions, interfaceProgram: (deploymentFile: string) => Promise<string>): Promise<World> {
  const letGo = await holdWorld(options.folder);
  try {
    const world = await startAll(options, interfaceProgram);
    return { ...world, stop: () => world.stop().finally(letGo) };
  } catch (error) {
    letGo();
    throw error;
  }
}

async function startAll(options: WorldOptions, interfaceProgram: (deploymentFile: string) => Promise<string>): Promise<World> {
  const { merged = false, clientCertificates = 'required', secondShop = false, events, log = () => undefined } = options;
  const folder = resolve(options.folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const ports = await ensurePorts(folder);
  const origins = settlementOrigins(ports);
  log('certificates');
  const pki = await ensurePki({ folder: join(folder, 'pki'), shops: shopParameters(ports, secondShop) });
  const shops = shopsOf(pki, ports, secondShop);
  const deploymentFile = await writeDeployment(folder, pki, origins);
  log('database');
  const postgres = await startPostgres({ folder: join(folder, 'postgres'), log, databases: [...SERVER_DATABASES, ...(secondShop ? ['kessai_shop_midori'] : [])] });
  const servers = new Map<string, ServerProcess>();
  const stop = async (): Promise<void> => {
    for (const server of [...servers.values()].reverse()) await server.stop();
    await postgres.stop();
  };
  try {
    const script = await interfaceProgram(deploymentFile);
    const trust = await trustFiles(folder, pki);
    const plans = [
      ...(await settlementPlans({ folder, pki, ports, postgres, origins, shops, merged, clientCertificates })),
      ...shops.map((shop) => shopPlan({ shop, trust, postgres, clientCertificates, interfaceProgram: script })),
    ];
    const start = async (plan: ServerPlan): Promise<void> => {
      log(`server ${plan.name}`);
      servers.set(plan.name, await startServer(plan, folder, events));
    };
    await startInOrder(plans, start);
    const desk = { applicationOrigin: origins.application, root: pki.root.file, webRoot: pki.webRoot.file, operatorSigning: pki.operator.signing.file, operatorTerminal: pki.operator.terminal.file };
    await writeDeskSettings(folder, desk);
    const restart = async (name: string): Promise<void> => {
      const plan = plans.find((candidate) => candidate.name === name);
      if (plan === undefined) throw new Error(`no server ${name}`);
      await start(plan);
    };
    return { folder, pki, ports, postgres, origins, shops, desk, deploymentFile, servers, restart, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Each settlement server calls those before it only when asked, so all can start at once; Node's start is most of the time. */
async function startInOrder(plans: readonly ServerPlan[], start: (plan: ServerPlan) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(plans.map(start));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

async function writeDeployment(folder: string, pki: Pki, origins: Origins): Promise<string> {
  const file = join(folder, 'deployment.json');
  const deployment = {
    trustAnchors: [Buffer.from(pki.root.certificate).toString('base64')],
    settlementOrigin: origins.application,
    enrolmentOrigin: origins.enrolment,
    version: productPackage.version,
  };
  await writeWhole(file, JSON.stringify(deployment, null, 2), 'replace');
  return file;
}
