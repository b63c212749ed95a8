/** Tables of the documents, for the tests that compare them with the code. */

/** Cells of every table row whose first cell matches. */
export function rowsOf(text: string, first: RegExp): string[][] {
  return text.split('\n').filter((line) => line.startsWith('|')).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim())).filter(([cell = '']) => first.test(cell));
}
