import fc from 'fast-check';
import { AltName, Certificate, ExtKeyUsage } from 'pkijs';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, concatBytes, encodeHex, parseHex } from './bytes.ts';
import { type DerNode, parseDer } from './certificate-der.ts';
import { parseExtensions, parseName, parseObjectIdentifier, parseTime } from './certificate-fields.ts';
import { parseCertificate } from './certificate-parse.ts';
import { makeAuthorities, makeShopLeaf } from './certificate-testing.fixture.ts';

const node = (hex: string): DerNode => parseDer(parseHex(hex.replaceAll(' ', '')));
const tlv = (tag: string, ...hex: string[]): string => `${tag}${(hex.join('').length / 2).toString(16).padStart(2, '0')}${hex.join('')}`;
const text = (value: string): string => encodeHex(new TextEncoder().encode(value));

describe('object identifiers', () => {
  test.each([
    ['2A864886F70D', '1.2.840.113549'],
    ['550403', '2.5.4.3'],
    ['883703', '2.999.3'],
    ['00', '0.0'],
    ['2B0601040181FD5988D7630101', '1.3.6.1.4.1.32473.142307.1.1'],
  ])('%s is %s', (content, dotted) => {
    expect(parseObjectIdentifier(node(tlv('06', content)))).toBe(dotted);
  });

  test.each([['nothing', '0600'], ['an unfinished arc', '06025581'], ['an arc with a needless octet', '0603558003'], ['a huge arc', '060A2AFFFFFFFFFFFFFFFF7F'], ['another type', '020155']])('%s is refused', (_, hex) => {
    expect(() => parseObjectIdentifier(node(hex))).toThrow(RangeError);
  });
});

describe('times', () => {
  test.each([
    ['17', '261122123456Z', Date.UTC(2026, 10, 22, 12, 34, 56)],
    ['17', '491231235959Z', Date.UTC(2049, 11, 31, 23, 59, 59)],
    ['17', '500101000000Z', Date.UTC(1950, 0)],
    ['18', '20500101000000Z', Date.UTC(2050, 0)],
    ['18', '99991231235959Z', Date.UTC(9999, 11, 31, 23, 59, 59)],
  ])('%s %s is read', (tag, value, ms) => {
    expect(parseTime(node(tlv(tag, text(value))))).toBe(ms);
  });

  test.each([
    ['17', '2611221234Z'], ['17', '261122123456+0000'], ['17', '20261122123456Z'], ['17', '261322123456Z'], ['17', '260231123456Z'], ['17', '261122243456Z'], ['17', '261122123460Z'],
    ['18', '20491231235959Z'], ['18', '261122123456Z'], ['18', '20500101000000.5Z'], ['18', ''], ['0C', '261122123456Z'], ['0C', '20500101000000Z'],
  ])('%s %j is refused', (tag, value) => {
    expect(() => parseTime(node(tlv(tag, text(value))))).toThrow(RangeError);
  });
});

describe('names', () => {
  const attribute = (type: string, tag: string, value: string): string => tlv('31', tlv('30', tlv('06', type), tlv(tag, text(value))));

  test('a common name and an organization, and others that are passed over', () => {
    expect(parseName(node(tlv('30', attribute('550406', '13', 'JP'), attribute('55040A', '0C', '書店'), attribute('550403', '13', 'shop'))))).toEqual({ commonName: 'shop', organization: '書店' });
    expect(parseName(node('3000'))).toEqual({ commonName: '', organization: undefined });
  });

  test.each([
    ['a TeletexString', attribute('550403', '14', 'shop')],
    ['two common names', attribute('550403', '0C', 'a') + attribute('550403', '0C', 'b')],
    ['an attribute without a value', tlv('31', tlv('30', tlv('06', '550403')))],
    ['an attribute of three parts', tlv('31', tlv('30', tlv('06', '550403'), '0C0161', '0C0161'))],
    ['no SET', tlv('30', tlv('06', '550403'), '0C0161')],
    ['bad UTF-8', tlv('31', tlv('30', tlv('06', '550403'), '0C02C328'))],
    ['a right-to-left override', attribute('550403', '0C', 'a\u202eb')],
  ])('%s is refused', (_, hex) => {
    expect(() => parseName(node(tlv('30', hex)))).toThrow(RangeError);
  });
});

describe('extensions', () => {
  const extension = (id: string, value: string, critical = ''): string => tlv('30', tlv('06', id), critical, tlv('04', value));
  const parse = (...hex: string[]) => parseExtensions(node(tlv('A3', tlv('30', ...hex))));
  const NONE = { isAuthority: false, pathLength: undefined, mayIssue: false, maySign: false, extendedKeyUsages: [], uris: [], dnsNames: [] };

  test('without them a certificate may do nothing', () => {
    expect(parse()).toEqual(NONE);
    expect(parse(extension('551D13', '3000'), extension('551D0F', '03020000'))).toEqual(NONE);
  });

  test('each is read', () => {
    expect(parse(extension('551D13', '30060101FF020103', '0101FF'))).toEqual({ ...NONE, isAuthority: true, pathLength: 3 });
    expect(parse(extension('551D0F', '03020284'))).toEqual({ ...NONE, mayIssue: true, maySign: true });
    expect(parse(extension('551D25', '300406022A03'))).toEqual({ ...NONE, extendedKeyUsages: ['1.2.3'] });
    expect(parse(extension('551D11', tlv('30', tlv('82', text('a.b')), tlv('86', text('https://a.b')))))).toEqual({ ...NONE, dnsNames: ['a.b'], uris: ['https://a.b'] });
  });

  test.each([
    ['an IP address', extension('551D11', '300687047F000001')],
    ['a DNS name with a NUL', extension('551D11', tlv('30', tlv('82', '610062')))],
    ['a path length without an authority', extension('551D13', '3003020103')],
    ['a negative path length', extension('551D13', '30060101FF0201FF')],
    ['an authority that is written false', extension('551D13', '3003010100')],
    ['a criticality that is written false', extension('551D13', '3000', '010100')],
    ['a key usage without bits', extension('551D0F', '030100')],
    ['trailing bytes inside', extension('551D25', '300406022A0300')],
    ['no value', tlv('30', tlv('06', '551D25'))],
    ['four parts', tlv('30', tlv('06', '551D25'), '0101FF', '0101FF', '0400')],
  ])('%s is refused', (_, hex) => {
    expect(() => parse(hex)).toThrow(RangeError);
  });

  test('two lists of extensions are refused', () => {
    expect(() => parseExtensions(node('A30430003000'))).toThrow(RangeError);
  });
});

describe('the frame of a certificate', () => {
  let hex: string;
  beforeAll(async () => { hex = encodeHex(await makeShopLeaf(await makeAuthorities())); });
  const length = (octets: number): string => octets.toString(16).padStart(4, '0').toUpperCase();

  test.each([
    ['version 2', 'A003020102', 'A003020101', 'not a version 3 certificate'],
    ['an inner signature algorithm other than the outer one', '300A06082A8648CE3D040302', '300A06082A8648CE3D040303', 'two signature algorithms'],
  ])('%s is refused', (_, good, bad, detail) => {
    expect(hex).toContain(good);
    expect(() => parseCertificate(parseHex(hex.replace(good, bad)))).toThrow(detail);
  });

  test('a ninth field after the extensions is refused', () => {
    // The outer and the inner SEQUENCE both have lengths of two octets here.
    const tbsOctets = Number.parseInt(hex.slice(12, 16), 16);
    const [tbs, rest] = [hex.slice(16, 16 + 2 * tbsOctets), hex.slice(16 + 2 * tbsOctets)];
    const frame = (content: string): string => `3082${length((content.length + rest.length) / 2 + 4)}3082${length(content.length / 2)}${content}${rest}`;
    expect(frame(tbs)).toBe(hex);
    expect(() => parseCertificate(parseHex(frame(`${tbs}0500`)))).toThrow('not a version 3 certificate');
  });
});

describe('against pkijs', () => {
  let certificates: Bytes[];
  beforeAll(async () => {
    const ca = await makeAuthorities();
    certificates = [await makeShopLeaf(ca, { dnsNames: ['shop.example'] }), ca.shops.certificate, ca.root.certificate];
  });

  const value = (certificate: Certificate, id: string): BufferSource | undefined => certificate.extensions?.find(({ extnID }) => extnID === id)?.extnValue.valueBlock.valueHexView as BufferSource | undefined;

  test('whatever both readers accept, damaged or not, means the same to both', () => {
    let accepted = 0;
    fc.assert(fc.property(fc.nat({ max: 2 }), fc.nat({ max: 4095 }), fc.integer({ min: 0, max: 255 }), (which, place, mask) => {
      const der = concatBytes(certificates[which]!);
      der[place % der.length]! ^= mask;
      let ours;
      try {
        ours = parseCertificate(der);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError); // never a crash of another kind
        return;
      }
      let theirs;
      try {
        theirs = Certificate.fromBER(der);
      } catch {
        return; // pkijs also takes the issuer's name and more apart, which we only compare
      }
      accepted++;
      expect([ours.notBeforeMs, ours.notAfterMs]).toEqual([theirs.notBefore.value.getTime(), theirs.notAfter.value.getTime()]);
      expect(concatBytes(theirs.tbsView)).toEqual(ours.tbs);
      const names = Object.fromEntries(theirs.subject.typesAndValues.map((entry) => [entry.type, (entry.value as { valueBlock: { value: string } }).valueBlock.value]));
      expect([ours.commonName, ours.organization]).toEqual([names['2.5.4.3'] ?? '', names['2.5.4.10']]);
      const usages = value(theirs, '2.5.29.37');
      expect(ours.extendedKeyUsages).toEqual(usages === undefined ? [] : ExtKeyUsage.fromBER(usages).keyPurposes);
      const alternatives = value(theirs, '2.5.29.17');
      expect([...ours.dnsNames, ...ours.uris]).toEqual(alternatives === undefined ? [] : AltName.fromBER(alternatives).altNames.map((name): unknown => name.value));
    }), { numRuns: 500 });
    expect(accepted).toBeGreaterThan(20);
  });
});
