/** What the shops sell: two small shops, their goods in two languages, and their drawn pictures (`pictures/`). */
import type { Currency } from '#protocol/amount.ts';
import type { Language } from './pages/language.ts';
import type { Product } from './service.ts';

export type Text = Readonly<Record<Language, string>>;

export interface CatalogueItem {
  readonly productId: string;
  readonly unitMinor: bigint;
  readonly title: Text;
  /** Who wrote it, where it grew, how much it is. */
  readonly detail: Text;
  /** File in `pictures/`. */
  readonly picture: string;
  readonly pictureText: Text;
}

export interface Shelf {
  readonly shelfId: string;
  readonly title: Text;
  readonly items: readonly CatalogueItem[];
}

export interface ShopProfile {
  readonly shopId: string;
  readonly name: Text;
  readonly tagline: Text;
  readonly currency: Currency;
  /** Of the times on receipts. */
  readonly timeZone: string;
  /** File in `pictures/`. */
  readonly mark: string;
  readonly shelves: readonly Shelf[];
}

const BOOKS: Shelf = {
  shelfId: 'books',
  title: { en: 'Books', ja: '本' },
  items: [
    {
      productId: 'book-of-tea',
      unitMinor: 1100n,
      title: { en: 'The Book of Tea', ja: '茶の本' },
      detail: { en: 'Okakura Kakuzo. Paperback, 128 pages', ja: '岡倉覚三 文庫判 128頁' },
      picture: 'book-of-tea.svg',
      pictureText: { en: 'Celadon green cover with a steaming tea bowl', ja: '湯気の立つ茶碗を描いた青磁色の表紙' },
    },
    {
      productId: 'night-train',
      unitMinor: 1760n,
      title: { en: 'Night Train to Aomori', ja: '青森行き夜行列車' },
      detail: { en: 'Sawada Ren. Stories, 216 pages', ja: '沢田蓮 短編集 216頁' },
      picture: 'night-train.svg',
      pictureText: { en: 'Dark blue cover with a lit train under the moon', ja: '月の下を走る列車を描いた紺色の表紙' },
    },
    {
      productId: 'kyoto-moss',
      unitMinor: 2420n,
      title: { en: 'Mosses of Kyoto', ja: '京都 苔の手帖' },
      detail: { en: 'Mizuno Haru. Field guide, 160 pages', ja: '水野はる 図鑑 160頁' },
      picture: 'kyoto-moss.svg',
      pictureText: { en: 'Cream cover with mounds of moss and stones', ja: '苔の丘と石を描いた生成り色の表紙' },
    },
  ],
};

const TEAS: Shelf = {
  shelfId: 'tea',
  title: { en: 'Tea', ja: 'お茶' },
  items: [
    {
      productId: 'genmaicha',
      unitMinor: 480n,
      title: { en: 'Genmaicha tea bags', ja: '玄米茶 ティーバッグ' },
      detail: { en: 'With roasted rice. 10 bags', ja: '炒り米入り 10包' },
      picture: 'genmaicha.svg',
      pictureText: { en: 'Brown paper pouch and a tea bag', ja: 'クラフト紙の袋とティーバッグ' },
    },
    {
      productId: 'sencha',
      unitMinor: 720n,
      title: { en: 'Uji sencha, first flush', ja: '宇治煎茶 一番茶' },
      detail: { en: 'Uji, Kyoto. Tin of 50 g', ja: '京都・宇治 缶入り50g' },
      picture: 'sencha.svg',
      pictureText: { en: 'Tall tin in blue paper with a pattern of waves', ja: '青海波の和紙を貼った茶筒' },
    },
    {
      productId: 'gyokuro',
      unitMinor: 3200n,
      title: { en: 'Yame gyokuro', ja: '八女玉露' },
      detail: { en: 'Yame, Fukuoka. Tin of 80 g', ja: '福岡・八女 缶入り80g' },
      picture: 'gyokuro.svg',
      pictureText: { en: 'Black lacquered tin with a gold band', ja: '金の帯を巻いた黒塗りの茶缶' },
    },
  ],
};

const HANAMARU: ShopProfile = {
  shopId: 'hanamaru',
  name: { en: 'Hanamaru Books', ja: '花丸書店' },
  tagline: { en: 'Books, and tea to read them with', ja: '本と、本に合うお茶' },
  currency: 'JPY',
  timeZone: 'Asia/Tokyo',
  mark: 'hanamaru-mark.svg',
  shelves: [BOOKS, TEAS],
};

const MIDORI: ShopProfile = {
  shopId: 'midori',
  name: { en: 'Midori Tea House', ja: '茶房みどり' },
  tagline: { en: 'Tea from one hillside', ja: 'ひとつの山のお茶' },
  currency: 'JPY',
  timeZone: 'Asia/Tokyo',
  mark: 'midori-mark.svg',
  shelves: [
    {
      shelfId: 'tea',
      title: { en: 'Tea', ja: 'お茶' },
      items: [
        {
          productId: 'matcha',
          unitMinor: 1800n,
          title: { en: 'Matcha', ja: '抹茶' },
          detail: { en: 'Stone ground. Tin of 30 g', ja: '石臼挽き 缶入り30g' },
          picture: 'matcha.svg',
          pictureText: { en: 'Small green tin and a bamboo whisk', ja: '緑の小缶と茶筅' },
        },
        {
          productId: 'hojicha',
          unitMinor: 640n,
          title: { en: 'Hojicha', ja: 'ほうじ茶' },
          detail: { en: 'Roasted. Bag of 100 g', ja: '深煎り 袋入り100g' },
          picture: 'hojicha.svg',
          pictureText: { en: 'Russet paper bag with a stripe', ja: '帯の付いた赤茶色の紙袋' },
        },
      ],
    },
  ],
};

export const PROFILES: readonly ShopProfile[] = [HANAMARU, MIDORI];

export function itemsOf(profile: ShopProfile): readonly CatalogueItem[] {
  return profile.shelves.flatMap(({ items }) => items);
}

/** As the estimate names them: a signed text has one language. */
export function productsOf(profile: ShopProfile): Product[] {
  return itemsOf(profile).map(({ productId, title, unitMinor }) => ({ productId, unitMinor, name: title.en }));
}
