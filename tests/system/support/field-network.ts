import type { Cleanup } from './cleanup.ts';
import { must } from './program.ts';

/** A machine of its own in a {@link FieldNetwork}: a network namespace behind the router. */
export interface Place {
  /** Put before a command, runs it there. */
  readonly prefix: readonly string[];
  /** Its address, which every other place reaches. */
  readonly address: string;
  /** From now on the router drops, without a word, whatever comes from there or goes there. */
  cut(): Promise<void>;
  /** The same for what comes from there alone. */
  cutOutgoing(): Promise<void>;
  restore(): Promise<void>;
  /** Takes the address away, as when a machine joins another network, and gives it another one. */
  changeAddress(): Promise<void>;
  /** IP packets that crossed its interface so far, both ways. */
  packets(): Promise<number>;
}

/** Its own networks behind one router, all in network namespaces of this test: root is needed, and no kernel module. */
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

  /** A new machine, on a network of its own. Its interface carries nothing but IPv4: the neighbours' addresses are given. */
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
      async changeAddress() {
        const next = `10.210.${number}.3`;
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
