/** The shops of a world: who they are, where they live, and the certificates they have. */
import type { Pki, ShopIdentities, ShopParameters } from './pki.ts';
import type { Ports } from './ports.ts';

export interface ShopOfWorld {
  readonly shopId: 'hanamaru' | 'midori';
  readonly organization: string;
  readonly host: string;
  readonly origin: string;
  readonly identities: ShopIdentities;
}

type Known = Omit<ShopOfWorld, 'identities'>;

function knownShops(ports: Ports, isWithSecond: boolean): Known[] {
  const shops: Known[] = [{ shopId: 'hanamaru', organization: 'Hanamaru Books', host: 'shop.localhost', origin: `https://shop.localhost:${ports.shop}` }];
  if (isWithSecond) shops.push({ shopId: 'midori', organization: 'Midori Tea House', host: 'tea.localhost', origin: `https://tea.localhost:${ports.secondShop}` });
  return shops;
}

export function shopParameters(ports: Ports, isWithSecond: boolean): ShopParameters[] {
  return knownShops(ports, isWithSecond).map(({ host, organization, origin }) => ({ host, organization, origins: [origin] }));
}

export function shopsOf(pki: Pki, ports: Ports, isWithSecond: boolean): ShopOfWorld[] {
  return knownShops(ports, isWithSecond).map((shop) => {
    const identities = pki.shops.get(shop.host);
    if (identities === undefined) throw new Error(`no certificates for ${shop.host}`);
    return { ...shop, identities };
  });
}
