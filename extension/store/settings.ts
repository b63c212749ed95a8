/** What the extension remembers between payments, in storage.local: two switches, the reader, the shops paid before, and payments that are still open. */
import * as v from 'valibot';
import type { ShopView } from '#protocol/parties.ts';
import { encodeOpenPayment, parseOpenPayment, type OpenPayment } from './bill-record.ts';

export const STORAGE_KEYS = { settings: 'settings', reader: 'reader', shops: 'shops', unresolved: 'unresolved' } as const;

/** `browser.storage.local`, as little of it as is used. */
export interface LocalStorage {
  get(key: string): Promise<Record<string, unknown>>;
  set(items: Record<string, unknown>): Promise<void>;
}

const settingsSchema = v.object({ speech: v.optional(v.boolean(), false), readBalance: v.optional(v.boolean()) });

export interface Settings {
  /** Amount and outcome are also spoken. */
  readonly speech: boolean;
  /** False: the balance stays on the card (paragraph 0064). */
  readonly readBalance: boolean;
}

const shopsSchema = v.record(v.string(), v.string());

/** More open payments than a person has cards; the newest stay. */
const MAX_UNRESOLVED = 20;

export interface Memory {
  settings(): Promise<Settings>;
  saveSettings(settings: Settings): Promise<void>;
  readerName(): Promise<string | null>;
  saveReaderName(name: string | null): Promise<void>;
  /** Whether this shop was paid before, under the same name and origin. */
  isKnownShop(shop: ShopView): Promise<boolean>;
  rememberShop(shop: ShopView): Promise<void>;
  openPayments(): Promise<OpenPayment[]>;
  addOpenPayment(payment: OpenPayment): Promise<void>;
  removeOpenPayment(paymentId: string): Promise<void>;
}

/** `defaults`: the deployment's. Only one payment window writes at a time; a value that cannot be read counts as absent. */
export function createMemory(storage: LocalStorage, defaults: Settings): Memory {
  const read = async <Schema extends v.GenericSchema>(key: string, schema: Schema): Promise<v.InferOutput<Schema> | undefined> => {
    const result = v.safeParse(schema, (await storage.get(key))[key]);
    return result.success ? result.output : undefined;
  };
  const unresolved = async (): Promise<unknown[]> => (await read(STORAGE_KEYS.unresolved, v.array(v.unknown()))) ?? [];
  const openPayments = async (): Promise<OpenPayment[]> => (await unresolved()).flatMap((value) => parseOpenPayment(value) ?? []);
  const saveOpenPayments = (payments: readonly OpenPayment[]): Promise<void> => storage.set({ [STORAGE_KEYS.unresolved]: payments.slice(-MAX_UNRESOLVED).map(encodeOpenPayment) });

  return {
    settings: async () => {
      const stored = await read(STORAGE_KEYS.settings, settingsSchema);
      return { speech: stored?.speech ?? defaults.speech, readBalance: stored?.readBalance ?? defaults.readBalance };
    },
    saveSettings: (settings) => storage.set({ [STORAGE_KEYS.settings]: settings }),
    readerName: async () => (await read(STORAGE_KEYS.reader, v.string())) ?? null,
    saveReaderName: (name) => storage.set({ [STORAGE_KEYS.reader]: name }),
    isKnownShop: async ({ origin, shopId }) => (await read(STORAGE_KEYS.shops, shopsSchema))?.[origin] === shopId,
    rememberShop: async ({ origin, shopId }) => storage.set({ [STORAGE_KEYS.shops]: { ...(await read(STORAGE_KEYS.shops, shopsSchema)), [origin]: shopId } }),
    openPayments,
    addOpenPayment: async (payment) => saveOpenPayments([...(await openPayments()).filter(({ paymentId }) => paymentId !== payment.paymentId), payment]),
    removeOpenPayment: async (paymentId) => saveOpenPayments((await openPayments()).filter((payment) => payment.paymentId !== paymentId)),
  };
}
