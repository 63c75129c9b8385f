/**
 * Prevents a crash of this thread where Node 22 lacks the address space for its own `fetch`, which Culvert does not use. Importing `node:http` makes
 * Node 22 reserve a WebAssembly memory for `fetch`, 10 GiB of address space. Where address space is limited (`ulimit -v`), this fails with an unhandled
 * rejection, which would end the thread. This function ignores that rejection; every other unhandled rejection still ends the thread. Call it
 * once, before the first iteration of the event loop.
 */
export function surviveWithoutFetch(): void {
  process.on('unhandledRejection', (reason) => {
    if (reason instanceof RangeError && reason.stack?.includes('node:internal/deps/undici')) return;
    throw reason;
  });
}
