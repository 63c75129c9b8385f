/** Maximum edits by which a mistyped word may differ from the suggested one; a larger difference is taken for another word. */
const MAX_EDITS = 2;

/** The text ` (did you mean 'listen'?)` when `word` is similar to one of the `known` words, else the empty text. Case is ignored. */
export function didYouMean(word: string, known: readonly string[]): string {
  const ranked = known
    .map((candidate) => ({ candidate, edits: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, edits }) => edits <= MAX_EDITS && edits < candidate.length / 2)
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  return best === undefined ? '' : ` (did you mean '${best.candidate}'?)`;
}

/**
 * The Levenshtein distance: how many letters must be inserted, deleted or replaced to turn one word into the other. Infinity for a word of
 * more than 64 characters, which is not compared.
 */
function editDistance(a: string, b: string): number {
  if (a.length > 64 || b.length > 64) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
