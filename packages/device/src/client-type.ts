import { packageVersion } from '@culvert/stream/package-version';

let clientTypeText: string | undefined;

/** The software name that the hub writes to its logs: SDK and Node versions, operating system, architecture. */
export function clientType(): string {
  clientTypeText ??= `culvert-device/${packageVersion(import.meta.url)} (node ${process.versions.node}; ${process.platform}; ${process.arch})`;
  return clientTypeText;
}
