/** A number of bytes in words. */
export function bytes(count: number): string {
  if (count >= 2 ** 20) return `${Number((count / 2 ** 20).toFixed(1))} MiB`;
  if (count >= 2 ** 10) return `${Number((count / 2 ** 10).toFixed(1))} KiB`;
  return `${count} bytes`;
}
