/** For tests only: transactions of the model, and what a commit makes permanent. */
/* eslint-disable @typescript-eslint/no-non-null-assertion -- as in every test: what is missing must fail loudly */
import { refuse } from './card.ts';
import { ask, bytesOf, exactly, FULL_ONLY, grantee, macBothWays, NEVER } from './rules.ts';
import type { ModelCard } from './card.ts';
import type { Rule } from './rules.ts';

function isNothingOpen({ open }: ModelCard): boolean {
  return Object.keys(open.values).length === 0 && Object.keys(open.records).length === 0 && open.macInput.length === 0;
}

function makePermanent(card: ModelCard): void {
  for (const file of card.application.files) {
    const value = card.open.values[file.number];
    if (file.type === 'value' && value !== undefined) Object.assign(file, { value: value.value, limitedCredit: value.debited ?? value.left });
    const records = card.open.records[file.number];
    if (file.type === 'cyclic' && records?.change === 'append') file.records = [records.record, ...file.records].slice(0, file.maxRecords - 1);
    if (file.type === 'cyclic' && records?.change === 'update') file.records[records.number] = records.record;
    if (file.type === 'cyclic' && records?.change === 'clear') file.records = [];
    if (file.type !== 'transaction-mac') continue;
    file.counter++;
    file.tmv = card.oracle.transactionMac(file.appTmKey, file.counter, card.kept.uid, card.open.macInput);
    if (card.open.readerId?.isRemembered === true) file.readerId = card.open.readerId.value;
  }
  card.abort();
}

export const TRANSACTION_RULES: Readonly<Record<number, Rule>> = {
  // CommitReaderID
  0xc8: {
    headerBytes: 0,
    dataBytes: exactly(16),
    travels: macBothWays,
    run(card, _header, data) {
      const file = card.macFile ?? refuse(0x9d);
      if (card.open.readerId !== undefined || card.isCounterUsedUp()) refuse(0x9d);
      ask(card, file, grantee(card, file, FULL_ONLY));
      const isRemembered = card.session !== undefined;
      const enciphered = isRemembered ? card.oracle.encipherReaderId(file.appTmKey, file.counter + 1, card.kept.uid, file.readerId) : [];
      card.open.readerId = { value: data, isRemembered };
      card.note(0xc8, ...data, ...enciphered);
      return { data: enciphered };
    },
  },
  // CommitTransaction
  0xc7: {
    headerBytes: 0,
    dataBytes: () => [0, 1],
    travels: macBothWays,
    run(card, _header, [option = 0]) {
      if (option > 1) refuse(0x9e);
      if (option === 1 && card.macFile === undefined) refuse(0x9d);
      if (isNothingOpen(card)) return { status: card.profile.emptyTransaction === 'NO_CHANGES' ? 0x0c : 0x00 };
      if (card.isCounterUsedUp()) refuse(0x9d);
      if (card.macFile !== undefined && card.macFile.rights.readWrite !== NEVER && card.open.readerId === undefined) refuse(0x9d);
      makePermanent(card);
      return { data: option === 1 ? [...bytesOf(card.macFile!.counter, 4), ...card.macFile!.tmv] : [] };
    },
  },
  // AbortTransaction
  0xa7: {
    headerBytes: 0,
    travels: macBothWays,
    run(card) {
      const status = isNothingOpen(card) && card.profile.emptyTransaction === 'NO_CHANGES' ? 0x0c : 0x00;
      card.abort();
      return { status };
    },
  },
};
