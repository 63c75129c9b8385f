/**
 * Lets this thread live where Node 22 finds no room for its own `fetch`, which nothing of ours uses: whoever imports `node:http` there has Node make a
 * WebAssembly memory for it, 10 GiB of address space, and where that is limited (`ulimit -v`) the failure ends the thread, as a rejection that
 * nobody handles. Every other such rejection ends it as ever. To be called once, before the first turn of the event loop.
 */
export function surviveWithoutFetch(): void {
  process.on('unhandledRejection', (reason) => {
    if (reason instanceof RangeError && reason.stack?.includes('node:internal/deps/undici')) return;
    throw reason;
  });
}
