/**
 * Returns the bytes that arrived at the other end and the time they took, from the report of `iperf3 -J`.
 * @throws Error with iperf3's own message when the transfer failed, or nothing arrived
 */
export function bytesAndSeconds(json: string): { bytes: number; seconds: number } {
  const report = JSON.parse(json) as {
    readonly error?: string;
    readonly end?: { readonly sum_received?: { readonly bytes?: number; readonly seconds?: number } };
  };
  const { bytes, seconds } = report.end?.sum_received ?? {};
  if (report.error !== undefined || !bytes || !seconds) {
    throw new Error(`iperf3: ${report.error ?? 'no sum of what was received'}`);
  }
  return { bytes, seconds };
}
