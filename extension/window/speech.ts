/** Amount and outcome spoken aloud, when the customer has switched that on. */

export interface Speech {
  say(text: string): void;
}

/** `enabled` false, or a platform without voices: silent. */
export function createSpeech(enabled: boolean, language: string): Speech {
  return {
    say: (text) => {
      if (!enabled || !('speechSynthesis' in globalThis)) return;
      const utterance = new SpeechSynthesisUtterance(text);
      utterance.lang = language;
      // Only what is on the screen now is worth hearing.
      speechSynthesis.cancel();
      speechSynthesis.speak(utterance);
    },
  };
}
