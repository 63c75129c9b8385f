/** What was seen in place of what TCP promises. A case that throws it fails; any other error is a fault of the kit itself. */
export class Deviation extends Error {}

/**
 * Bounds a wait.
 * @param what describes what is waited for, for the message
 * @throws Deviation when `work` takes longer than `milliseconds`
 */
export async function within<T>(milliseconds: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Deviation(`${what}: not in ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
