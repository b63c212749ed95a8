/** The host's version is the product's; the extension asks for exactly its own. */
import productPackage from '../../package.json' with { type: 'json' };

export const HOST_VERSION: string = productPackage.version;
