/** Minimum length, in characters, of a secret that is searched for: shorter ones occur by chance. */
const LEAST = 12;

/** Collects every secret that a run used, and finds those that occur in a text. */
export class Secrets {
  readonly #forms = new Map<string, string>();

  /** @param what the name that is reported when the secret is found */
  add(what: string, secret: string): void {
    if (secret.length < LEAST) throw new Error(`${what} is too short to look for`);
    for (const [how, form] of formsOf(secret)) if (form.length >= LEAST) this.#forms.set(form, `${what}, ${how}`);
  }

  /** The number of forms that are searched for. */
  get size(): number {
    return this.#forms.size;
  }

  /** Returns the names of the secrets that `text` contains, never the secrets themselves. */
  in(text: string): string[] {
    return [...this.#forms].flatMap(([form, name]) => (text.includes(form) ? [name] : []));
  }
}

/** Returns the forms in which a secret may be written: plain, base64 as text and decoded to bytes, hexadecimal, URL-encoded. */
function formsOf(secret: string): [how: string, form: string][] {
  const bytes = Buffer.from(secret);
  const meant = Buffer.from(secret, 'base64');
  return [
    ['plain', secret],
    ['URL-encoded', encodeURIComponent(secret)],
    ['URL-encoded twice', encodeURIComponent(encodeURIComponent(secret))],
    ['in lower-case escapes', encodeURIComponent(secret).replace(/%../g, (code) => code.toLowerCase())],
    ['hexadecimal', bytes.toString('hex')],
    ['its bytes in hexadecimal', meant.toString('hex')],
    ['base64url', meant.toString('base64url')],
    // Matches the secret at any position in a longer text that is base64-encoded: its bytes can have three alignments.
    ...[0, 1, 2].map((before): [string, string] => {
      const padded = Buffer.concat([Buffer.alloc(before), bytes])
        .toString('base64')
        .replace(/=+$/, '');
      return ['base64', padded.slice(before === 0 ? 0 : before + 1, -2)];
    }),
  ];
}
