/** A card image that cannot be used: missing, in use, damaged, or larger than the memory; the message names the file or the field. */
export class CardImageError extends Error {
  override readonly name = 'CardImageError';
}
