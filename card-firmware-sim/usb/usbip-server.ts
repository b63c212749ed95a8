/** A bus of emulated USB devices that any USB/IP importer can attach (Linux vhci_hcd, or a shim); devices come and go at run time. A bad message ends its own connection and nothing else. */
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { configurationValue, interfaceClasses, UsbControlEndpoint } from './usb-standard-requests.ts';
import type { UsbDevice } from './usb-device.ts';
import { UsbIpConnection } from './usbip-connection.ts';
import type { DeviceBus, PluggedDevice } from './usbip-connection.ts';
import type { UsbIpDevice } from './usbip-messages.ts';

export interface UsbIpServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: one the system chooses. The protocol's own is 3240. */
  readonly port?: number;
  /** By bus id, like "1-1". */
  readonly devices?: Readonly<Record<string, UsbDevice>>;
  /** A device left the bus: by `unplug`, or by itself. */
  readonly onUnplugged?: (busId: string) => void;
}

export interface UsbIpServer {
  readonly port: number;
  plug(busId: string, device: UsbDevice): void;
  /** Transfers under way fail as on a bus (-ESHUTDOWN), and the importer's connection ends. */
  unplug(busId: string): void;
  /** Bus ids, in the order of plugging. */
  readonly busIds: readonly string[];
  /** Whether an importer has it. */
  isImported(busId: string): boolean;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;

export async function startUsbIpServer(options: UsbIpServerOptions = {}): Promise<UsbIpServer> {
  const bus = new Bus(options.onUnplugged ?? (() => undefined));
  for (const [busId, device] of Object.entries(options.devices ?? {})) bus.plug(busId, device);
  const server = createServer({ noDelay: true }, (socket) => bus.serve(socket));
  server.maxConnections = MAX_CONNECTIONS;
  const port = await listen(server, options.port ?? 0, options.host ?? '127.0.0.1');
  return {
    port,
    plug: (busId, device) => bus.plug(busId, device),
    unplug: (busId) => bus.unplug(busId),
    get busIds() {
      return bus.busIds;
    },
    isImported: (busId) => bus.find(busId)?.importer !== undefined,
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      bus.close();
    }),
  };
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('no TCP address'));
      else resolve(address.port);
    });
  });
}

class Bus implements DeviceBus {
  readonly #plugged = new Map<string, PluggedDevice>();
  readonly #connections = new Set<UsbIpConnection>();
  readonly #onUnplugged: (busId: string) => void;
  #devices = 1;

  constructor(onUnplugged: (busId: string) => void) {
    this.#onUnplugged = onUnplugged;
  }

  get busIds(): readonly string[] {
    return [...this.#plugged.keys()];
  }

  find(busId: string): PluggedDevice | undefined {
    return this.#plugged.get(busId);
  }

  list(): UsbIpDevice[] {
    return [...this.#plugged.values()].map(({ entry }) => entry);
  }

  plug(busId: string, device: UsbDevice): void {
    const [, busNumber] = /^(\d+)-\d+(?:\.\d+)*$/.exec(busId) ?? [];
    if (busNumber === undefined) throw new RangeError(`"${busId}" is not a bus id`);
    if (this.#plugged.has(busId)) throw new RangeError(`${busId} is taken`);
    const { descriptors } = device;
    const entry: UsbIpDevice = {
      busId, busNumber: Number(busNumber), deviceNumber: ++this.#devices, speed: descriptors.speed, device: descriptors.device,
      configurationValue: configurationValue(descriptors), interfaces: interfaceClasses(descriptors),
    };
    this.#plugged.set(busId, { entry, device, control: new UsbControlEndpoint(device), importer: undefined });
  }

  unplug(busId: string): void {
    const plugged = this.#plugged.get(busId);
    if (plugged === undefined) return;
    this.#plugged.delete(busId);
    plugged.importer?.endUnplugged();
    this.#onUnplugged(busId);
  }

  serve(socket: Socket): void {
    const connection = new UsbIpConnection(socket, this);
    this.#connections.add(connection);
    socket.on('data', (chunk: Buffer) => connection.receive(chunk));
    // What broke the connection is told by its end; the bus lives on.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#connections.delete(connection);
      connection.ended();
    });
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }
}
