import type { Cleanup } from './cleanup.ts';
import { must } from './program.ts';

/** A separate machine in a {@link FieldNetwork}: a network namespace behind the router. */
export interface Place {
  /** Command prefix that runs a command at this place. */
  readonly prefix: readonly string[];
  /** The place's address, which every other place can reach. */
  readonly address: string;
  /** Makes the router silently drop all packets to and from this place, from now on. */
  cut(): Promise<void>;
  /** Makes the router silently drop the packets from this place only. */
  cutOutgoing(): Promise<void>;
  restore(): Promise<void>;
  /** Takes the place's interface down: its own programs see that there is no network. */
  linkDown(): Promise<void>;
  /** Takes the interface up again, with the same address. */
  linkUp(): Promise<void>;
  /** Removes the place's address, as when a machine joins another network, and assigns one that it never had. TCP connections from the old one are dead. */
  changeAddress(): Promise<void>;
  /** IP packets that have crossed the place's interface so far, in both directions. */
  packets(): Promise<number>;
}

/** Several networks behind one router, all in network namespaces of this test. It needs root, but no kernel module. */
export class FieldNetwork {
  readonly #cleanup: Cleanup;
  readonly #name: string;
  #places = 0;

  private constructor(cleanup: Cleanup, name: string) {
    this.#cleanup = cleanup;
    this.#name = name;
  }

  static async create(cleanup: Cleanup): Promise<FieldNetwork> {
    const network = new FieldNetwork(cleanup, `cvt${process.pid}`);
    const router = await network.#namespace('r');
    await must('ip', ['netns', 'exec', router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    return network;
  }

  /** Adds a machine on its own network. Its interface carries IPv4 only: the neighbours' link-layer addresses are set statically. */
  async place(): Promise<Place> {
    const number = ++this.#places;
    const router = `${this.#name}-r`;
    const inside = await this.#namespace(`${number}`);
    const [near, far] = [`e${number}`, `r${number}`];
    const [address, gateway] = [`10.210.${number}.2`, `10.210.${number}.1`];
    const prefix = ['ip', 'netns', 'exec', inside];
    await must('ip', ['-n', inside, 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', router]);
    for (const [space, link, own] of [
      [inside, near, address],
      [router, far, gateway],
    ] as const) {
      const quiet = `echo 1 > /proc/sys/net/ipv6/conf/${link}/disable_ipv6 2>/dev/null || true`;
      await must('ip', ['netns', 'exec', space, 'sh', '-c', quiet]);
      await must('ip', ['-n', space, 'address', 'add', `${own}/24`, 'dev', link]);
      await must('ip', ['-n', space, 'link', 'set', link, 'up']);
    }
    const hardware = async (space: string, link: string) =>
      (await must('ip', ['netns', 'exec', space, 'cat', `/sys/class/net/${link}/address`])).trim();
    const neighbour = async (space: string, link: string, ip: string, lladdr: string) =>
      must('ip', ['-n', space, 'neigh', 'replace', ip, 'lladdr', lladdr, 'nud', 'permanent', 'dev', link]);
    const here = await hardware(inside, near);
    await neighbour(inside, near, gateway, await hardware(router, far));
    await neighbour(router, far, address, here);
    await must('ip', ['-n', inside, 'route', 'add', 'default', 'via', gateway]);

    const from = ['iif', far, 'blackhole'];
    const to = ['to', `10.210.${number}.0/24`, 'blackhole'];
    let rules: string[][] = [];
    let addresses = 2;
    const cut = async (...added: string[][]) => {
      for (const rule of added) await must('ip', ['-n', router, 'rule', 'add', ...rule]);
      rules = added;
    };
    return {
      prefix,
      address,
      cut: () => cut(from, to),
      cutOutgoing: () => cut(from),
      async restore() {
        for (const rule of rules.splice(0)) await must('ip', ['-n', router, 'rule', 'del', ...rule]);
      },
      linkDown: async () => void (await must('ip', ['-n', inside, 'link', 'set', near, 'down'])),
      async linkUp() {
        await must('ip', ['-n', inside, 'link', 'set', near, 'up']);
        // The kernel has removed the routes and neighbours of the interface that was down.
        await neighbour(inside, near, gateway, await hardware(router, far));
        await must('ip', ['-n', inside, 'route', 'replace', 'default', 'via', gateway]);
      },
      async changeAddress() {
        const next = `10.210.${number}.${++addresses}`;
        await must('ip', ['-n', inside, 'address', 'flush', 'dev', near]);
        await must('ip', ['-n', inside, 'address', 'add', `${next}/24`, 'dev', near]);
        await must('ip', ['-n', inside, 'route', 'replace', 'default', 'via', gateway]);
        await neighbour(router, far, next, here);
      },
      async packets() {
        const text = await must('ip', [
          ...['netns', 'exec', inside, 'cat'],
          ...['rx', 'tx'].map((way) => `/sys/class/net/${near}/statistics/${way}_packets`),
        ]);
        return text
          .trim()
          .split('\n')
          .reduce((sum, line) => sum + Number(line), 0);
      },
    };
  }

  async #namespace(suffix: string): Promise<string> {
    const name = `${this.#name}-${suffix}`;
    await must('ip', ['netns', 'add', name]);
    this.#cleanup.defer(name, () => must('ip', ['netns', 'del', name]));
    await must('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    return name;
  }
}
