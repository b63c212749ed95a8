import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeFrame, FrameReader, FramingError, MAX_INCOMING_BYTES, MAX_OUTGOING_BYTES } from './framing.ts';

/** Header with any length, then `body` as given. */
function frame(length: number, body: Uint8Array | string): Uint8Array {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const whole = new Uint8Array(4 + bytes.length);
  new DataView(whole.buffer).setUint32(0, length, true);
  whole.set(bytes, 4);
  return whole;
}

describe('frames', () => {
  test('have their length first, least significant byte first', () => {
    expect(encodeFrame({ id: 1 })).toEqual(Uint8Array.of(8, 0, 0, 0, ...new TextEncoder().encode('{"id":1}')));
  });

  test('come out as they went in, however the stream cuts them', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), (messages, cuts) => {
        const stream = Uint8Array.from(messages.flatMap((message) => [...encodeFrame(message)]));
        const reader = new FrameReader();
        const received: unknown[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const next = at + (cuts[turn % cuts.length] ?? 1);
          received.push(...reader.push(stream.subarray(at, next)));
          at = next;
        }
        expect(JSON.stringify(received)).toBe(JSON.stringify(messages));
        expect(reader.isBetweenFrames).toBe(true);
      }),
    );
  });

  test('may be as large as the limit, and no larger', () => {
    const largest = JSON.stringify('x'.repeat(MAX_INCOMING_BYTES - 2));
    expect(new FrameReader().push(frame(largest.length, largest))).toHaveLength(1);
    // Refused at the header: nothing is collected for a length that is only claimed.
    expect(() => new FrameReader().push(frame(MAX_INCOMING_BYTES + 1, ''))).toThrow(FramingError);
    expect(encodeFrame('x'.repeat(MAX_OUTGOING_BYTES - 2))).toHaveLength(MAX_OUTGOING_BYTES + 4);
    expect(() => encodeFrame('x'.repeat(MAX_OUTGOING_BYTES - 1))).toThrow(FramingError);
  });

  test.each([
    ['an empty frame', frame(0, '')],
    ['the largest length that there is', frame(0xffffffff, '{}')],
    ['no JSON', frame(3, '{x}')],
    ['two JSON values', frame(4, '1 2 ')],
    ['half a JSON value', frame(5, '{"a":')],
    ['invalid UTF-8', frame(3, Uint8Array.of(0x22, 0xff, 0x22))],
    ['a byte order mark', frame(5, Uint8Array.of(0xef, 0xbb, 0xbf, 0x7b, 0x7d))],
  ])('%s ends the stream for good', (_, bytes) => {
    const reader = new FrameReader();
    expect(() => reader.push(bytes)).toThrow(FramingError);
    expect(() => reader.push(encodeFrame({}))).toThrow(FramingError);
  });

  test('a frame that is half-way in is known as such', () => {
    const reader = new FrameReader();
    expect(reader.push(encodeFrame({ a: 1 }).subarray(0, 5))).toEqual([]);
    expect(reader.isBetweenFrames).toBe(false);
  });

  test('an arbitrary stream either parses or fails with FramingError, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          new FrameReader().push(bytes);
        } catch (reason) {
          expect(reason).toBeInstanceOf(FramingError);
        }
      }),
    );
  });
});
