/** The shop as a process of its own: `node --import tsx servers/shop/main.ts --config shop.json`. */
import { runAsProcess } from '../shared/process.ts';
import { shopConfigSchema, startShop } from './start.ts';

runAsProcess(import.meta.url, shopConfigSchema, startShop);
