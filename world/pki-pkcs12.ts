/** PKCS #12 (RFC 7292): a private key and its chain in the one file form that every browser and NSS's pk12util import. */
import * as asn1js from 'asn1js';
import { Attribute, AuthenticatedSafe, CertBag, Certificate, PFX, PKCS8ShroudedKeyBag, PrivateKeyInfo, SafeBag, SafeContents } from 'pkijs';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { parsePem } from '#protocol/certificate-pem.ts';
import type { Identity } from './pki-store.ts';

const BAG = { shroudedKey: '1.2.840.113549.1.12.10.1.2', certificate: '1.2.840.113549.1.12.10.1.3' } as const;
const FRIENDLY_NAME = '1.2.840.113549.1.9.20';
const LOCAL_KEY_ID = '1.2.840.113549.1.9.21';
const ITERATIONS = 10_000;
const [IN_CLEAR, BY_PASSWORD] = [0, 0];

/** `password`: ASCII. The key is encrypted with it (PBES2, AES-256) and the whole is authenticated (HMAC-SHA-256); certificates are in clear. */
export async function encodePkcs12(identity: Identity, friendlyName: string, password: string): Promise<Bytes> {
  const passwordBytes = concatBytes(new TextEncoder().encode(password)).buffer;
  const keyAttributes = [attribute(FRIENDLY_NAME, new asn1js.BmpString({ value: friendlyName })), attribute(LOCAL_KEY_ID, new asn1js.OctetString({ valueHex: new Uint8Array([1]).buffer }))];
  const keyBag = new SafeBag({ bagId: BAG.shroudedKey, bagValue: await shroudKey(identity, passwordBytes), bagAttributes: keyAttributes });
  const certificateBags = identity.chain.map((der, index) => new SafeBag({
    bagId: BAG.certificate,
    bagValue: new CertBag({ parsedValue: Certificate.fromBER(der) }),
    ...(index === 0 ? { bagAttributes: keyAttributes } : {}),
  }));
  const safeContents = [[keyBag], certificateBags].map((safeBags) => ({ privacyMode: IN_CLEAR, value: new SafeContents({ safeBags }) }));
  const pfx = new PFX({ parsedValue: { integrityMode: BY_PASSWORD, authenticatedSafe: new AuthenticatedSafe({ parsedValue: { safeContents } }) } });
  await pfx.parsedValue?.authenticatedSafe?.makeInternalValues({ safeContents: safeContents.map(() => ({})) });
  await pfx.makeInternalValues({ password: passwordBytes, iterations: ITERATIONS, pbkdf2HashAlgorithm: 'SHA-256', hmacHashAlgorithm: 'SHA-256' });
  return new Uint8Array(pfx.toSchema().toBER());
}

async function shroudKey(identity: Identity, password: ArrayBuffer): Promise<PKCS8ShroudedKeyBag> {
  const [keyDer] = parsePem('PRIVATE KEY', identity.keyPem);
  if (keyDer === undefined) throw new Error(`${identity.file} holds no private key`);
  const bag = new PKCS8ShroudedKeyBag({ parsedValue: PrivateKeyInfo.fromBER(keyDer) });
  await bag.makeInternalValues({
    password,
    contentEncryptionAlgorithm: { name: 'AES-CBC', length: 256 },
    hmacHashAlgorithm: 'SHA-256',
    iterationCount: ITERATIONS,
  } as Parameters<typeof bag.makeInternalValues>[0]);
  return bag;
}

function attribute(type: string, value: asn1js.BmpString | asn1js.OctetString): Attribute {
  return new Attribute({ type, values: [value] });
}
