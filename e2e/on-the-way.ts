/** Whoever sits between the browser and the settlement: changes answers after the browser's own TLS, as a broken or bought server would. */
import type { Page } from 'playwright';

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface Interception {
  /** How many answers were changed. */
  changed(): number;
}

/** `change` sees every answer to this window's requests below `origin`/v1/; null leaves it as it is. */
export async function changeAnswers(window: Page, origin: string, change: (body: string, path: string) => Promise<Answer | null> | Answer | null): Promise<Interception> {
  const devtools = await window.context().newCDPSession(window);
  let changed = 0;
  const handle = async (requestId: string, url: string, headers: { name: string; value: string }[]): Promise<void> => {
    const { body, base64Encoded } = await devtools.send('Fetch.getResponseBody', { requestId });
    const text = base64Encoded ? Buffer.from(body, 'base64').toString() : body;
    const answer = await change(text, new URL(url).pathname);
    if (answer === null) {
      await devtools.send('Fetch.continueResponse', { requestId });
      return;
    }
    changed += 1;
    const kept = headers.filter(({ name }) => !['content-length', 'content-type', 'content-encoding'].includes(name.toLowerCase()));
    await devtools.send('Fetch.fulfillRequest', {
      requestId,
      responseCode: answer.status,
      responseHeaders: [...kept, { name: 'Content-Type', value: answer.contentType }],
      body: Buffer.from(answer.body).toString('base64'),
    });
  };
  devtools.on('Fetch.requestPaused', ({ requestId, request, responseHeaders = [] }) => {
    // The window may have gone meanwhile: then nobody waits for the answer.
    handle(requestId, request.url, responseHeaders).catch(() => undefined);
  });
  await devtools.send('Fetch.enable', { patterns: [{ urlPattern: `${origin}/v1/*`, requestStage: 'Response' }] });
  return { changed: () => changed };
}
