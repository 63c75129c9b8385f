import { BlockList, isIP, isIPv4 } from 'node:net';
import { CulvertError } from '@culvert/protocol';

/** The networks from which connections with a PROXY header are accepted. */
export class ProxySources {
  readonly #networks = new BlockList();

  /**
   * @param networks addresses, or networks as `ADDRESS/BITS`
   * @throws CulvertError `config_invalid` when one is neither
   */
  constructor(networks: readonly string[]) {
    for (const network of networks) this.#add(network);
  }

  /** @param address as returned by `peerAddress` */
  has(address: string): boolean {
    const plain = address.split('%', 1)[0] ?? '';
    return isIP(plain) !== 0 && this.#networks.check(plain, isIPv4(plain) ? 'ipv4' : 'ipv6');
  }

  #add(network: string): void {
    const [address = '', bits, ...more] = network.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    const most = family === 'ipv4' ? 32 : 128;
    const isValid = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most);
    if (isIP(address) === 0 || address.includes('%') || !isValid || more.length > 0) {
      const detail = `proxyProtocolFrom: '${network}' is neither an IP address nor a network such as 192.0.2.0/24.`;
      throw new CulvertError('config_invalid', detail);
    }
    this.#networks.addSubnet(address, bits === undefined ? most : Number(bits), family);
  }
}
