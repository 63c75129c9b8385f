/** `text`, cut to at most `maxBytes` bytes in UTF-8, never in the middle of a character. */
export function cutUtf8(text: string, maxBytes: number): string {
  const encoder = new TextEncoder();
  if (encoder.encode(text).length <= maxBytes) return text;
  let cut = '';
  let size = 0;
  for (const character of text) {
    size += encoder.encode(character).length;
    if (size > maxBytes) break;
    cut += character;
  }
  return cut;
}
