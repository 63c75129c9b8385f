/** Characters of the shortest secret that is looked for: shorter ones occur by chance. */
const LEAST = 12;

/** Every secret a run used, and where one of them turned up. */
export class Secrets {
  readonly #forms = new Map<string, string>();

  /** @param what named when it is found */
  add(what: string, secret: string): void {
    if (secret.length < LEAST) throw new Error(`${what} is too short to look for`);
    for (const [how, form] of formsOf(secret)) if (form.length >= LEAST) this.#forms.set(form, `${what}, ${how}`);
  }

  /** How many forms are looked for. */
  get size(): number {
    return this.#forms.size;
  }

  /** What `text` shows of them: names, never the secrets. */
  in(text: string): string[] {
    return [...this.#forms].flatMap(([form, name]) => (text.includes(form) ? [name] : []));
  }
}

/** A secret as it may be written: plain, base64 as text and as the bytes it stands for, hexadecimal, URL-encoded. */
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
    // Wherever it stands in a longer text that is base64: the three ways its bytes can fall.
    ...[0, 1, 2].map((before): [string, string] => {
      const padded = Buffer.concat([Buffer.alloc(before), bytes])
        .toString('base64')
        .replace(/=+$/, '');
      return ['base64', padded.slice(before === 0 ? 0 : before + 1, -2)];
    }),
  ];
}
