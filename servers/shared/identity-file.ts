/** A TLS identity from one PEM file that holds a private key and its chain. */
import { readFile } from 'node:fs/promises';

export interface TlsIdentity {
  /** PEM, leaf first. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
}

/** Throws an Error that names the file if either part is missing. */
export async function readTlsIdentity(file: string): Promise<TlsIdentity> {
  const pem = await readFile(file, 'latin1');
  const certificate = (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).join('\n');
  const key = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/.exec(pem)?.[0];
  if (certificate === '' || key === undefined) throw new Error(`${file} must hold a private key and its certificate chain`);
  return { certificate: `${certificate}\n`, key: `${key}\n` };
}
