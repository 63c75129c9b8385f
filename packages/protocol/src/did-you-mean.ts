/** Edits by which a word may differ from the one that was meant: more is another word. */
const MAX_EDITS = 2;

/** ` (did you mean 'listen'?)` for a word that is nearly one of those known, else nothing. Case does not matter. */
export function didYouMean(word: string, known: readonly string[]): string {
  const ranked = known
    .map((candidate) => ({ candidate, edits: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, edits }) => edits <= MAX_EDITS && edits < candidate.length / 2)
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  return best === undefined ? '' : ` (did you mean '${best.candidate}'?)`;
}

/** Letters to insert, delete or replace to make one word of the other (Levenshtein); words longer than 64 are not compared. */
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
