/** How a world configures a shop's server. */
import type { Postgres } from './postgres.ts';
import type { ServerPlan } from './server-process.ts';
import type { ClientCertificates } from './settlement.ts';
import type { ShopOfWorld } from './shops.ts';

export interface ShopPlanOptions {
  readonly shop: ShopOfWorld;
  readonly trust: { readonly root: string; readonly webRoot: string; readonly intermediates: string };
  readonly postgres: Postgres;
  readonly clientCertificates: ClientCertificates;
  /** The built `ic-card.js`. */
  readonly interfaceProgram: string;
}

export function shopPlan({ shop, trust, postgres, clientCertificates, interfaceProgram }: ShopPlanOptions): ServerPlan {
  const isFirst = shop.shopId === 'hanamaru';
  return {
    name: isFirst ? 'shop' : `shop-${shop.shopId}`,
    program: 'servers/shop/main.ts',
    config: {
      shopId: shop.shopId,
      public: { origin: shop.origin, identity: shop.identities.web.file, clientCertificates },
      signing: shop.identities.signing.file,
      trust,
      databaseUrl: postgres.url(isFirst ? 'kessai_shop' : `kessai_shop_${shop.shopId}`),
      icCard: interfaceProgram,
      minimumVersion: '0.1.0',
      extensionUrl: null,
    },
  };
}
