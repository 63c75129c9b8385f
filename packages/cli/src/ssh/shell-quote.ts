/**
 * `text` as one word of any POSIX shell, and of csh and fish as far as it holds no backslash: in single quotes nothing is special
 * but the single quote itself.
 */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** `text` as ssh reads it where it expands `%` sequences (ssh_config(5), TOKENS). */
export function sshPercent(text: string): string {
  return text.replaceAll('%', '%%');
}
