/** The extension's fixed identity: the native host and the servers know it by these. Only the public half of the key is kept; it names, it signs nothing. */

/** `key` of the manifest: an RSA public key (SubjectPublicKeyInfo, base64) from which Chromium derives the id. */
export const EXTENSION_KEY =
  'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAoWwNFK1qmeKvCQ+colOtOFEAezqKOBzsmk+N/Li5oJtql0yJY2cirQCjf43/BP+P4p5zfQvQ0Lc0IlGoPEECHTY0K1QJXSSPnSAHEiMQa1cxhSXNsTXK9OJSo9XtHAvoAPdKh0nJTry1N0QRxmHGxozbMuC9tv+aefWXfX7ZhsV1Gp2G1t/mAdlOLtuzNNfac90CU21qRW33jZzEgyHcEI4wKpPL0uI5TUxzFUCWP+4qUprOH5s+V4NuV6utG0H1SejiWus0MfhkO4+8Nk2xj6+yVzPUWPW0frWKWkiWy5ij3hWLDZmgZJ5FMOli2wEIi4gcN5ZieEaM7Zl9twxkyQIDAQAB';

/** What Chromium makes of the key, and Firefox's id. */
export { EXTENSION_ID, GECKO_ID } from '#bridge/native/callers.ts';
