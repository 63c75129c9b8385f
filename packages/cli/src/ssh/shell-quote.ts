/**
 * `text` as one word of any POSIX shell; also of csh and fish if it holds no backslash. In single quotes only the single quote itself is
 * special.
 */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** `text` escaped for options in which ssh expands `%` sequences (ssh_config(5), TOKENS). */
export function sshPercent(text: string): string {
  return text.replaceAll('%', '%%');
}
