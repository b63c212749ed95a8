import fc from 'fast-check';
import * as v from 'valibot';
import { expect, test } from 'vitest';
import { oneTimeCodeSchema } from '#protocol/messages/fields.ts';
import { parseOneTimeCode } from './one-time-code.ts';

const CODE = 'ABCD-EF12-GH34-0K1M';

test.each([CODE, 'abcdef12gh340k1m', ' abcd ef12\tgh34\n0k1m ', 'ＡＢＣＤ－ｅｆ１２－ＧＨ３４－０Ｋ１Ｍ', 'ABCD–EF12—GH34−0K1M', 'ABCDーEF12ーGH34ー0K1M', 'abcd-ef12-gh34-okim', 'ABCD-EF12-GH34-OKLM'])(
  'a code is taken as people type it: %s',
  (typed) => {
    expect(parseOneTimeCode(typed)).toBe(CODE);
  },
);

test.each(['', 'ABCD', 'ABCD-EF12-GH34-0K1', 'ABCD-EF12-GH34-0K1MN', 'ABCD-EF12-GH34-0K1U', 'ABCD_EF12_GH34_0K1M', 'ABCD-EF12-GH34-0K1é', '令和令和令和令和令和令和令和令和'])('what cannot be a code is none: %s', (typed) => {
  expect(parseOneTimeCode(typed)).toBeUndefined();
});

test('whatever is typed, what comes out is spelt as the messages want it, and is itself its only spelling', () => {
  const letter = fc.integer({ min: 0, max: 31 }).map((digit) => '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.charAt(digit));
  fc.assert(
    fc.property(fc.array(letter, { minLength: 16, maxLength: 16 }), fc.array(fc.constantFrom('', ' ', '-', '–', '\u3000'), { minLength: 16, maxLength: 16 }), fc.boolean(), (letters, gaps, isSmall) => {
      const typed = letters.map((character, i) => `${isSmall ? character.toLowerCase() : character}${gaps[i] ?? ''}`).join('');
      const code = parseOneTimeCode(typed);
      expect(v.is(oneTimeCodeSchema, code)).toBe(true);
      expect(code?.replaceAll('-', '')).toBe(letters.join(''));
      expect(parseOneTimeCode(code ?? '')).toBe(code);
    }),
  );
});

test('no text of any kind becomes anything but a code', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), (typed) => {
      const code = parseOneTimeCode(typed);
      expect(code === undefined || v.is(oneTimeCodeSchema, code)).toBe(true);
    }),
  );
});
