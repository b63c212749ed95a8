/** One session with a token: opened at first use, one call after the other, made anew once when it is lost, and never a second try with a refused PIN. */
import { KeyStoreError } from './key-store.ts';
import { Pkcs11Error, type Pkcs11Library, type SessionHandle, type SlotId } from './pkcs11-library.ts';
import { ALREADY_INITIALIZED, ALREADY_LOGGED_IN, CKF, PIN_REFUSED, SESSION_LOST } from './pkcs11-standard.ts';

export interface TokenOptions {
  readonly library: Pkcs11Library;
  readonly tokenLabel: string;
  readonly pin: string;
  /** Only for adding keys. */
  readonly isWritable?: boolean;
  /** The most that a caller waits, its turn included. */
  readonly limitMs?: number;
}

/** What callers work with during their turn. */
export interface TokenTurn {
  readonly library: Pkcs11Library;
  /** Another one after the session was lost: handles of objects are worth nothing then. */
  readonly session: SessionHandle;
  /** Counts the sessions: handle numbers may come again. */
  readonly sessionNumber: number;
}

const LIMIT_MS = 10_000;

/** How many of us use each library: it is initialized once for the whole process. */
const users = new Map<Pkcs11Library, number>();

export class TokenSession {
  readonly #options: TokenOptions;
  readonly #pin: Uint8Array;
  #turn: TokenTurn | undefined;
  #sessions = 0;
  #isInUse = false;
  #last: Promise<unknown> = Promise.resolve();
  /** For good: a closed session, or a PIN that the token refused. */
  #end: KeyStoreError | undefined;

  constructor(options: TokenOptions) {
    this.#options = options;
    this.#pin = new TextEncoder().encode(options.pin);
  }

  /** Does `act` when its turn comes; if the session is lost meanwhile, a `repeatable` one again on a new session. Rejects with KeyStoreError. */
  run<Result>(act: (turn: TokenTurn) => Promise<Result>, mode: 'repeatable' | 'once' = 'repeatable'): Promise<Result> {
    return this.#inTurn(async () => {
      if (this.#end !== undefined) throw this.#end;
      try {
        return await act(await this.#open());
      } catch (error) {
        if (!(error instanceof Pkcs11Error && SESSION_LOST.has(error.status))) throw error;
        await this.#dropSession();
        if (mode === 'once') throw error;
        return await act(await this.#open());
      }
    });
  }

  async close(): Promise<void> {
    this.#end ??= new KeyStoreError('the key store is closed');
    await this.#inTurn(async () => {
      this.#pin.fill(0);
      await this.#dropSession();
      await this.#leaveLibrary();
    });
  }

  /** A call into the library cannot be cancelled: who has waited too long is told so, and what has not begun by then is not begun. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const { tokenLabel, limitMs = LIMIT_MS } = this.#options;
    const tooLate = new KeyStoreError(`the token ${tokenLabel} did not answer within ${limitMs / 1000} s`);
    let isTooLate = false;
    const done = this.#last.then(() => {
      if (isTooLate) throw tooLate;
      return work();
    });
    this.#last = done.catch(() => undefined);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        isTooLate = true;
        reject(tooLate);
      }, limitMs);
      done.then(resolve, (error: unknown) => reject(this.#describe(error))).finally(() => clearTimeout(timer));
    });
  }

  #describe(error: unknown): Error {
    if (error instanceof Pkcs11Error) return new KeyStoreError(`the token ${this.#options.tokenLabel} failed: ${error.message}`, { cause: error });
    return error instanceof Error ? error : new Error(String(error));
  }

  async #open(): Promise<TokenTurn> {
    if (this.#turn !== undefined) return this.#turn;
    const { library, isWritable = false } = this.#options;
    await this.#enterLibrary();
    const slot = await this.#findSlot();
    const session = await library.openSession(slot, isWritable);
    try {
      await this.#logIn(slot, session);
    } catch (error) {
      await library.closeSession(session).catch(ignoreRefusal);
      throw error;
    }
    this.#sessions++;
    this.#turn = { library, session, sessionNumber: this.#sessions };
    return this.#turn;
  }

  async #findSlot(): Promise<SlotId> {
    const { library, tokenLabel } = this.#options;
    const slots: SlotId[] = [];
    for (const slot of await library.listSlots()) if ((await library.readToken(slot)).label === tokenLabel) slots.push(slot);
    const [slot] = slots;
    if (slot === undefined) throw new KeyStoreError(`there is no token labelled ${tokenLabel}: is it connected?`);
    if (slots.length > 1) throw new KeyStoreError(`there is more than one token labelled ${tokenLabel}`);
    return slot;
  }

  async #logIn(slot: SlotId, session: SessionHandle): Promise<void> {
    const { library, tokenLabel } = this.#options;
    const { flags } = await library.readToken(slot);
    if ((flags & CKF.USER_PIN_LOCKED) !== 0) throw new KeyStoreError(`the PIN of the token ${tokenLabel} is locked`);
    // A wrong PIN in a configuration must not be what locks the token.
    if ((flags & CKF.USER_PIN_FINAL_TRY) !== 0) throw new KeyStoreError(`the token ${tokenLabel} allows one last try of its PIN: log in with the token's own tool first`);
    try {
      await library.logIn(session, this.#pin);
    } catch (error) {
      // A login is the whole process's, not the session's.
      if (error instanceof Pkcs11Error && error.status === ALREADY_LOGGED_IN) return;
      if (!(error instanceof Pkcs11Error && PIN_REFUSED.has(error.status))) throw error;
      this.#end = new KeyStoreError(`the token ${tokenLabel} refuses the PIN (${error.message}); it is not tried again, so as not to lock the token: correct it and restart`, { cause: error });
      throw this.#end;
    }
  }

  async #dropSession(): Promise<void> {
    const turn = this.#turn;
    this.#turn = undefined;
    if (turn !== undefined) await turn.library.closeSession(turn.session).catch(ignoreRefusal);
  }

  async #enterLibrary(): Promise<void> {
    const { library } = this.#options;
    if (!this.#isInUse) users.set(library, (users.get(library) ?? 0) + 1);
    this.#isInUse = true;
    await library.initialize().catch((error: unknown) => {
      if (!(error instanceof Pkcs11Error && error.status === ALREADY_INITIALIZED)) throw error;
    });
  }

  async #leaveLibrary(): Promise<void> {
    if (!this.#isInUse) return;
    this.#isInUse = false;
    const { library } = this.#options;
    const left = (users.get(library) ?? 1) - 1;
    if (left > 0) {
      users.set(library, left);
      return;
    }
    users.delete(library);
    await library.finalize().catch(ignoreRefusal);
  }
}

/** What cannot be ended, because it is gone or the token is broken, is left. */
function ignoreRefusal(error: unknown): void {
  if (!(error instanceof Pkcs11Error)) throw error;
}
