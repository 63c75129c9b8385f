/**
 * Keeps this thread alive where Node 22 has no address space for its own `fetch`, which Culvert does not use: importing `node:http` there makes Node create a
 * WebAssembly memory for it, 10 GiB of address space, and where that is limited (`ulimit -v`) the failure ends the thread, as a rejection that
 * nobody handles. Every other such rejection ends it as ever. To be called once, before the first turn of the event loop.
 */
export function surviveWithoutFetch(): void {
  process.on('unhandledRejection', (reason) => {
    if (reason instanceof RangeError && reason.stack?.includes('node:internal/deps/undici')) return;
    throw reason;
  });
}
