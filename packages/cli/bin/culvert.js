#!/usr/bin/env node
// Check the version before the first import: an old Node would fail with a syntax error instead of this one-line message.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`culvert: Node 22.19 or newer is needed; this is Node ${process.versions.node}\n`);
  process.exit(78);
}
let main;
try {
  ({ main } = await import('../dist/main.js'));
} catch (error) {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  process.stderr.write('culvert: not built yet; run `npm run build`\n');
  process.exit(78);
}
await main(process.argv);
