import { readFileSync, rmSync, writeFileSync } from 'node:fs';

// Runs before and after `npm pack` and `npm publish`, in the directory of the package. It adds the required version of Node to the packed
// package.json. The package.json in the checkout must not contain it, because the checkout brings its own Node: `npm ci` on an older Node would
// print two warnings for each of our packages, although nothing is wrong.

const MANIFEST = 'package.json';
const KEPT = '.package.json.before-pack';

const [when] = process.argv.slice(2);
if (when === 'before') {
  const text = readFileSync(MANIFEST, 'utf8');
  const { publishConfig, ...manifest } = JSON.parse(text);
  const { engines, ...rest } = publishConfig ?? {};
  if (engines === undefined) throw new Error(`${MANIFEST} has no publishConfig.engines`);
  writeFileSync(KEPT, text);
  const config = Object.keys(rest).length === 0 ? {} : { publishConfig: rest };
  writeFileSync(MANIFEST, `${JSON.stringify({ ...manifest, ...config, engines }, null, 2)}\n`);
} else if (when === 'after') {
  writeFileSync(MANIFEST, readFileSync(KEPT));
  rmSync(KEPT);
} else {
  throw new Error('usage: pack-engines.mjs before|after');
}
