import { readFileSync } from 'node:fs';

/**
 * Returns the version of the package that a module belongs to.
 * @param moduleUrl `import.meta.url` of a module directly below the package's `src` or `dist`
 */
export function packageVersion(moduleUrl: string): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', moduleUrl), 'utf8'));
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}
