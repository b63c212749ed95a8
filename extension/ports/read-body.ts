/** The body of an HTTP answer as text, never more than was agreed: the length is the server's word, so it is counted while reading. */

/** Throws RangeError beyond `maxBytes`, TypeError where the connection breaks or the text is not UTF-8. */
export async function readTextBody(response: Response, maxBytes: number): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return '';
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    length += value.length;
    if (length > maxBytes) {
      await reader.cancel();
      throw new RangeError(`an answer of more than ${maxBytes} bytes`);
    }
    text += decoder.decode(value, { stream: true });
  }
}
