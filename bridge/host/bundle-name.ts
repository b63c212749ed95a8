/** The built host's file name. */
export const HOST_BUNDLE_NAME = 'kessai-host.mjs';
