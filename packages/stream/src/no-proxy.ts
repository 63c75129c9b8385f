import { BlockList, isIP, isIPv4 } from 'node:net';

/**
 * Returns whether a connection to `url` bypasses the proxy because of `NO_PROXY`. `noProxy` is a list separated by commas or spaces. An entry is
 * `*` (every host), a host name (matches this name and all its subdomains; a leading `.` or `*.` makes no difference), an address, or a network
 * such as `10.0.0.0/8`. A name, address or network may have a port (`host:8443`, `[::1]:8443`) and then applies to that port only. Names are not
 * resolved. Loopback addresses bypass the proxy only if the list contains them.
 */
export function bypassesProxy(url: URL, noProxy: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  const port = url.port === '' ? '443' : url.port;
  return noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => entry === '*' || entryMatches(entry.toLowerCase(), host.toLowerCase(), port));
}

const BRACKETED_ADDRESS = /^\[([^\]]+)\](?::(\d+))?$/;
const WITH_PORT = /^([^:]+):(\d+)$/;

function entryMatches(entry: string, host: string, port: string): boolean {
  const [, name = entry, onlyPort] = BRACKETED_ADDRESS.exec(entry) ?? WITH_PORT.exec(entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  const [network = '', bits] = name.split('/');
  if (isIP(network) !== 0) return isIP(host) !== 0 && inNetwork(network, bits, host);
  if (isIP(host) !== 0) return false;
  const suffix = name.replace(/^\*?\./, '').replace(/\.$/, '');
  return suffix !== '' && (host === suffix || host.endsWith(`.${suffix}`));
}

function inNetwork(network: string, bits: string | undefined, address: string): boolean {
  const family = isIPv4(network) ? 'ipv4' : 'ipv6';
  const length = family === 'ipv4' ? 32 : 128;
  // An invalid network, such as `10.0.0.0/33`, matches nothing.
  if (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > length)) return false;
  const list = new BlockList();
  list.addSubnet(network, bits === undefined ? length : Number(bits), family);
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}
