/** For tests only: values, data and records of the model. */
/* eslint-disable @typescript-eslint/no-non-null-assertion -- as in every test: what is missing must fail loudly */
import { refuse } from './card.ts';
import { asFile, asManyAs, ask, bytesOf, EITHER, exactly, fileOf, FULL_ONLY, grantee, macBothWays, modesOfFile, numberOf, READ, signedOf, typed, WRITE } from './rules.ts';
import type { ModelCard } from './card.ts';
import type { File, FileOf, Grantee, Right, Rule } from './rules.ts';

function granteeOfGetValue(card: ModelCard, file: File): Grantee {
  const by = grantee(card, file, EITHER);
  return by !== 'key' && file.type === 'value' && file.freeGetValue ? 'all' : by;
}

function change(instruction: number, rights: Right[], apply: (open: ModelCard['open']['values'][number], amount: number, file: FileOf<'value'>, card: ModelCard) => void): Rule {
  return {
    headerBytes: 1,
    dataBytes: exactly(4),
    travels: asFile(rights, 'in'),
    run(card, header, data) {
      const file = typed(card, header, 'value');
      ask(card, file, grantee(card, file, rights));
      const amount = signedOf(data);
      if (amount < 0) refuse(0x9e);
      const open = { ...(card.open.values[file.number] ?? { value: file.value, givenBack: 0, left: file.limitedCredit }) };
      apply(open, amount, file, card);
      if (open.value < file.lower || open.value > file.upper) refuse(0xbe);
      card.open.values[file.number] = open;
      card.note(instruction, ...header, ...data);
      return {};
    },
  };
}

const VALUES: Record<number, Rule> = {
  // GetValue
  0x6c: {
    headerBytes: 1,
    travels(card, header) {
      const file = fileOf(card, header[0]);
      return modesOfFile(file, granteeOfGetValue(card, file), 'out');
    },
    run(card, header) {
      const file = typed(card, header, 'value');
      ask(card, file, granteeOfGetValue(card, file));
      const data = bytesOf(card.profile.openValue === 'shadow' ? card.open.values[file.number]?.value ?? file.value : file.value, 4);
      card.note(0x6c, ...header, ...data);
      return { data };
    },
  },
  // Credit, Debit, LimitedCredit
  0x0c: change(0x0c, FULL_ONLY, (open, amount) => {
    open.value += amount;
  }),
  0xdc: change(0xdc, EITHER, (open, amount) => {
    open.value -= amount;
    open.debited = (open.debited ?? 0) + amount;
  }),
  0x1c: change(0x1c, WRITE, (open, amount, file, card) => {
    if (!file.limitedCreditEnabled) refuse(0x9d);
    open.value += amount;
    open.givenBack += amount;
    if (open.givenBack > file.limitedCredit) refuse(0xbe);
    open.left = card.profile.limitedCreditLeft === 'the-rest' ? file.limitedCredit - open.givenBack : 0;
  }),
};

const DATA: Record<number, Rule> = {
  // ReadData
  0xad: {
    headerBytes: 7,
    travels: asFile(READ, 'out'),
    run(card, header) {
      const file = fileOf(card, header[0]);
      const content = file.type === 'standard' ? file.content : file.type === 'transaction-mac' ? [...bytesOf(file.counter, 4), ...file.tmv] : refuse(0x9d);
      ask(card, file, grantee(card, file, READ));
      const [offset, length] = [numberOf(header.slice(1, 4)), numberOf(header.slice(4, 7))];
      if (offset >= content.length || offset + length > content.length) refuse(0xbe);
      const data = length === 0 ? content.slice(offset) : content.slice(offset, offset + length);
      if (file.type === 'transaction-mac') return { data };
      card.note(0xad, ...header.slice(0, 4), ...bytesOf(data.length, 3));
      card.note(...data);
      return { data };
    },
  },
  // WriteData
  0x8d: {
    headerBytes: 7,
    dataBytes: asManyAs(4),
    travels: asFile(WRITE, 'in'),
    run(card, header, data) {
      const file = typed(card, header, 'standard');
      ask(card, file, grantee(card, file, WRITE));
      const offset = numberOf(header.slice(1, 4));
      if (data.length === 0) refuse(0x9e);
      if (offset + data.length > file.content.length) refuse(0xbe);
      file.content.splice(offset, data.length, ...data);
      card.note(0x8d, ...header);
      card.note(...data);
      return {};
    },
  },
};

const RECORDS: Record<number, Rule> = {
  // ReadRecords
  0xab: {
    headerBytes: 7,
    travels: asFile(READ, 'out'),
    run(card, header) {
      const file = typed(card, header, 'cyclic');
      ask(card, file, grantee(card, file, READ));
      const [first, wanted] = [numberOf(header.slice(1, 4)), numberOf(header.slice(4, 7))];
      const count = wanted === 0 ? file.records.length - first : wanted;
      if (count <= 0 || first + count > file.records.length) refuse(0xbe);
      const data = file.records.slice(first, first + count).reverse().flat();
      card.note(0xab, ...header.slice(0, 4), ...bytesOf(count, 3));
      card.note(...data);
      return { data };
    },
  },
  // WriteRecord
  0x8b: {
    headerBytes: 7,
    dataBytes: asManyAs(4),
    travels: asFile(WRITE, 'in'),
    run(card, header, data) {
      const file = typed(card, header, 'cyclic');
      ask(card, file, grantee(card, file, WRITE));
      const offset = numberOf(header.slice(1, 4));
      if (data.length === 0) refuse(0x9e);
      if (offset + data.length > file.recordBytes) refuse(0xbe);
      const open = card.open.records[file.number] ?? { change: 'append', number: -1, record: bytesOf(0, file.recordBytes) };
      if (open.change !== 'append') refuse(0x9d);
      open.record.splice(offset, data.length, ...data);
      card.open.records[file.number] = open;
      card.note(0x8b, ...header);
      card.note(...data);
      return {};
    },
  },
  // UpdateRecord
  0xba: {
    headerBytes: 10,
    dataBytes: asManyAs(7),
    travels: asFile(FULL_ONLY, 'in'),
    run(card, header, data) {
      const file = typed(card, header, 'cyclic');
      ask(card, file, grantee(card, file, FULL_ONLY));
      const [number, offset] = [numberOf(header.slice(1, 4)), numberOf(header.slice(4, 7))];
      if (data.length === 0) refuse(0x9e);
      if (number >= file.records.length || offset + data.length > file.recordBytes) refuse(0xbe);
      const open = card.open.records[file.number] ?? { change: 'update', number, record: [...file.records[number]!] };
      if (open.change !== 'update' || open.number !== number) refuse(0x9d);
      open.record.splice(offset, data.length, ...data);
      card.open.records[file.number] = open;
      card.note(0xba, ...header);
      card.note(...data);
      return {};
    },
  },
  // ClearRecordFile
  0xeb: {
    headerBytes: 1,
    travels: macBothWays,
    run(card, header) {
      const file = typed(card, header, 'cyclic');
      ask(card, file, grantee(card, file, WRITE));
      const open = card.open.records[file.number] ?? { change: 'clear', number: -1, record: [] };
      if (open.change !== 'clear') refuse(0x9d);
      card.open.records[file.number] = open;
      card.note(0xeb, ...header);
      return {};
    },
  },
};


export const FILE_RULES: Readonly<Record<number, Rule>> = { ...VALUES, ...DATA, ...RECORDS };
