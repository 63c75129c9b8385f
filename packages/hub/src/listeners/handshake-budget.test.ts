import { describe, expect, it } from 'vitest';
import { HandshakeBudget } from './handshake-budget.ts';

/** Milliseconds that each address gets in `seconds`, when it tries a thousand handshakes a second that take `cost` milliseconds each. */
function spent(addresses: number, cost: number, seconds: number): number[] {
  const budget = new HandshakeBudget();
  const used = Array.from({ length: addresses }, () => 0);
  for (let now = 0; now < seconds * 1_000; now++) {
    for (let address = 0; address < addresses; address++) {
      if (!budget.admits(`${address}`, now)) continue;
      budget.begun(`${address}`, now);
      budget.charge(`${address}`, cost - 1, now);
      used[address] = (used[address] ?? 0) + cost;
    }
  }
  return used;
}

describe('the budget of handshakes with certificates', () => {
  it.each([1, 2, 115])('gives an address half a second at once, and a tenth of all time, at %i ms each', (cost) => {
    const [used = 0] = spent(1, cost, 60);
    expect(used).toBeGreaterThanOrEqual(500 + 5_900);
    expect(used).toBeLessThanOrEqual(500 + 6_000 + cost);
  });

  it('gives all together a second at once, and three tenths of all time', () => {
    const used = spent(50, 20, 60).reduce((sum, each) => sum + each, 0);
    expect(used).toBeLessThanOrEqual(1_000 + 18_000 + 20);
    expect(used).toBeGreaterThanOrEqual(1_000 + 17_000);
  });

  it('takes nothing of one address for what another did', () => {
    const budget = new HandshakeBudget();
    for (let count = 0; count < 9; count++) budget.charge('192.0.2.1', 60, 0);
    expect([budget.admits('192.0.2.1', 0), budget.admits('192.0.2.2', 0)]).toEqual([false, true]);
    expect(budget.admits('192.0.2.1', 1_000)).toBe(true);
  });

  it('forgets who owes nothing', () => {
    const budget = new HandshakeBudget();
    for (let now = 0; now < 100_000; now++) budget.begun(`${now}`, now);
    expect(budget.size).toBeLessThanOrEqual(1_024);
  });
});
