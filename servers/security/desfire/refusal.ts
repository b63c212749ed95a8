/** The card answered with another status word than the one that lets the dialogue go on. */
import { Failure, type FailureCode } from '#protocol/failure.ts';

/** `statusWord` carries no MAC: whoever relays can forge it, so it explains and never proves. */
export class CardRefusal extends Failure {
  override readonly name = 'CardRefusal';
  readonly statusWord: number;

  constructor(statusWord: number, code: FailureCode = 'card/refused') {
    super(code, { detail: `status word ${statusWord.toString(16).padStart(4, '0')}` });
    this.statusWord = statusWord;
  }
}
