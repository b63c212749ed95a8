/** manifest.json: as few rights as a payment needs. */
import type { Deployment } from './deployment.ts';
import { EXTENSION_KEY, GECKO_ID } from './extension-id.ts';

export const OPTIONS_PAGE = 'options/options.html';
export const READERS_PAGE = 'readers/readers.html';
export const CARD_PAGE = 'card/card.html';
export const PAYMENT_PAGE = 'window/window.html';
export const CONTENT_SCRIPT = 'content-script.js';
export const BACKGROUND_SCRIPT = 'background.js';

/** For a deployment; `pages` beyond the product's own may ask for nothing more. */
export function createManifest(deployment: Deployment) {
  const { settlementOrigin, enrolmentOrigin, version } = deployment;
  const origins = [...new Set([settlementOrigin, enrolmentOrigin])];
  return {
    manifest_version: 3,
    name: '__MSG_extensionName__',
    description: '__MSG_extensionDescription__',
    version,
    default_locale: 'en',
    key: EXTENSION_KEY,
    minimum_chrome_version: '120',
    icons: { 16: 'icons/16.png', 32: 'icons/32.png', 48: 'icons/48.png', 128: 'icons/128.png' },
    // nativeMessaging: the card reader. storage: settings, and payments whose outcome is not known yet.
    permissions: ['nativeMessaging', 'storage'],
    // Firefox refuses ports in match patterns, so the host alone is named; the policy below names the port.
    host_permissions: [...new Set(origins.map((origin) => `https://${new URL(origin).hostname}/*`))],
    content_scripts: [{ matches: ['https://*/*'], js: [CONTENT_SCRIPT], run_at: 'document_start', all_frames: false }],
    // Chromium starts the service worker, Firefox the script.
    background: { service_worker: BACKGROUND_SCRIPT, scripts: [BACKGROUND_SCRIPT] },
    options_ui: { page: OPTIONS_PAGE, open_in_tab: true },
    content_security_policy: {
      extension_pages: `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src ${origins.join(' ')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    },
    // A resource that pages may load would tell every page that we are here.
    web_accessible_resources: [],
    browser_specific_settings: { gecko: { id: GECKO_ID, strict_min_version: '128.0' } },
  };
}
