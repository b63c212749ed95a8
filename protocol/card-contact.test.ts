import { describe, expect, it } from 'vitest';
import type { CardCommand } from './apdu.ts';
import { encodeHex, parseHex, type Bytes } from './bytes.ts';
import { openContact } from './card-contact.ts';
import { Failure } from './failure.ts';
import type { Card } from './parties.ts';

/** SELECT, three frames of GetVersion of a DESFire Light, the challenge. */
const ANSWERS = ['9000', '0408013000130391AF', '0408013000130391AF', '04DE5F1EACC040CF4C3E10002206239100', `${'A5'.repeat(16)}91AF`];

function cardThat(answers: readonly string[]) {
  const sent: { phase: string; commands: readonly CardCommand[] }[] = [];
  const card: Card = {
    readerName: 'reader',
    onLost: () => undefined,
    transmit: (phase, commands) => {
      sent.push({ phase, commands });
      const stop = answers.findIndex((answer, i) => Number.parseInt(answer.slice(-4), 16) !== commands[i]?.expectedStatus);
      return Promise.resolve(answers.slice(0, stop === -1 ? answers.length : stop + 1).map(parseHex));
    },
    debit: () => Promise.reject(new Error('never')),
    close: () => Promise.resolve(),
  };
  return { card, sent };
}

const withAnswer = (at: number, answer: string): string[] => ANSWERS.map((was, i) => (i === at ? answer : was));
const codeOf = (act: Promise<unknown>): Promise<string> => act.then(() => 'opened', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));

describe('the contact with a card', () => {
  it('selects the wallet, reads the UID and asks for the challenge of key 1, in one batch', async () => {
    const { card, sent } = cardThat(ANSWERS);
    expect(await openContact(card, 1)).toEqual({ card, cardId: '04DE5F1EACC040', cardChallenge: 'A5'.repeat(16) });
    expect(sent.map(({ phase }) => phase)).toEqual(['identify']);
    expect(sent[0]!.commands.map(({ apdu }: { apdu: Bytes }) => encodeHex(apdu))).toEqual(['00A4040C10A00000039656434103F015400000000B00', '9060000000', '90AF000000', '90AF000000', '9071000002010000']);
  });

  it.each<[string, readonly string[], string]>([
    ['no wallet application', withAnswer(0, '6A82'), 'card/unsupported'],
    ['no answer at all', [], 'card/unsupported'],
    ['GetVersion refused', withAnswer(1, '911C'), 'card/unsupported'],
    ['GetVersion that ends after one frame', withAnswer(1, '9100'), 'card/unsupported'],
    ['a UID of four bytes', withAnswer(3, 'DE5F1EAC9100'), 'card/unsupported'],
    ['a UID of another maker', withAnswer(3, '05DE5F1EACC040CF4C3E10002206239100'), 'card/unsupported'],
    ['a random UID', withAnswer(3, '08DE5F1EACC040CF4C3E10002206239100'), 'card/unsupported'],
    ['no key 1', withAnswer(4, '9140'), 'card/unsupported'],
    ['a challenge of 8 bytes', withAnswer(4, `${'A5'.repeat(8)}91AF`), 'card/unsupported'],
    ['a challenge that is too long', withAnswer(4, `${'A5'.repeat(17)}91AF`), 'card/unsupported'],
    ['a challenge without more to come', withAnswer(4, `${'A5'.repeat(16)}9100`), 'card/unsupported'],
    ['a delay after failed authentications', withAnswer(4, '91AD'), 'card/refused'],
  ])('refuses %s', async (_what, answers, code) => {
    expect(await codeOf(openContact(cardThat(answers).card, 1))).toBe(code);
  });
});
