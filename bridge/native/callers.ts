/** Who may call the native host by default: our extension, as each family of browsers names it. */

/** Chromium's id: the first 16 bytes of SHA-256 of the manifest's key, in the letters a to p. */
export const EXTENSION_ID = 'cldjloiamlmpedfcahkjlebbemjcehcf';

/** Firefox's id, as the manifest states it. */
export const GECKO_ID = 'extension@kessai.dev';

/** The caller as Chromium passes it, and as `allowed_origins` names it. */
export function extensionOrigin(extensionId: string): string {
  return `chrome-extension://${extensionId}/`;
}
