import { afterEach, expect, test, vi } from 'vitest';
import { createSpeech } from './speech.ts';

afterEach(() => vi.unstubAllGlobals());

function stubVoices() {
  const heard: { text: string; lang: string }[] = [];
  vi.stubGlobal('SpeechSynthesisUtterance', class {
    lang = '';
    readonly text: string;
    constructor(text: string) {
      this.text = text;
    }
  });
  vi.stubGlobal('speechSynthesis', { cancel: () => (heard.length = 0), speak: ({ text, lang }: { text: string; lang: string }) => heard.push({ text, lang }) });
  return heard;
}

test('only what is on the screen now is heard, in the language of the messages', () => {
  const heard = stubVoices();
  const speech = createSpeech(true, 'ja');
  speech.say('one');
  speech.say('two');
  expect(heard).toEqual([{ text: 'two', lang: 'ja' }]);
});

test('it is silent unless switched on, and where there are no voices', () => {
  createSpeech(true, 'en').say('x');
  const heard = stubVoices();
  createSpeech(false, 'en').say('x');
  expect(heard).toEqual([]);
});
