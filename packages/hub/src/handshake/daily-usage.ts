import type { Clock, Timer } from '@culvert/stream';
import type { DeviceUsage, UsageStore } from '../registry/registry.ts';

/** Milliseconds between two writes to the store: a crash may lose the bytes counted in that time. */
const SAVE_MS = 10_000;

/** Maximum totals in one call of the store: the call takes about a millisecond, during which other calls wait. */
const MAX_TOTALS = 500;

export interface DailyUsageOptions {
  readonly store: UsageStore;
  readonly clock: Clock;
  /** Called when a write to the store failed: counting continues in memory, and the next write includes the same devices. */
  readonly onFailed: (error: unknown) => void;
}

/**
 * Bytes that each device has carried today (UTC), restored after a restart. Each device that has carried bytes today takes one entry of about
 * 100 bytes in memory.
 */
export class DailyUsage {
  readonly #options: DailyUsageOptions;
  readonly #totals = new Map<string, number>();
  readonly #unsaved = new Set<string>();
  #day: string;
  #timer: Timer | undefined;
  #saving = Promise.resolve();

  private constructor(options: DailyUsageOptions, day: string) {
    this.#options = options;
    this.#day = day;
  }

  /** Loads today's totals from the store. */
  static async open(options: DailyUsageOptions): Promise<DailyUsage> {
    const day = dayOf(options.clock.now());
    const usage = new DailyUsage(options, day);
    for (const { deviceId, bytes } of await options.store.load(day)) usage.#totals.set(deviceId, bytes);
    return usage;
  }

  /** Bytes of this device today. */
  of(deviceId: string): number {
    this.#resetOnNewDay();
    return this.#totals.get(deviceId) ?? 0;
  }

  /** Bytes of the device that carried the most today. */
  get most(): number {
    this.#resetOnNewDay();
    let most = 0;
    for (const bytes of this.#totals.values()) if (bytes > most) most = bytes;
    return most;
  }

  add(deviceId: string, bytes: number): void {
    if (bytes <= 0) return;
    this.#totals.set(deviceId, this.of(deviceId) + bytes);
    this.#unsaved.add(deviceId);
    this.#timer ??= this.#options.clock.setTimer(SAVE_MS, () => {
      this.#timer = undefined;
      void this.save();
    });
  }

  /** Writes pending totals; resolves when they are on disk or the write has failed. */
  save(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#saving = this.#saving.then(() => this.#write());
    return this.#saving;
  }

  async #write(): Promise<void> {
    const day = this.#day;
    const unsavedTotals = [...this.#unsaved].map((deviceId) => ({ deviceId, bytes: this.#totals.get(deviceId) ?? 0 }));
    this.#unsaved.clear();
    try {
      for (let at = 0; at < unsavedTotals.length; at += MAX_TOTALS) {
        await this.#options.store.save(day, unsavedTotals.slice(at, at + MAX_TOTALS));
      }
    } catch (error) {
      this.#keepUnsaved(day, unsavedTotals);
      this.#options.onFailed(error);
    }
  }

  /** Marks totals whose write failed as unsaved, so that the next write includes them; does nothing once their day has ended. */
  #keepUnsaved(day: string, totals: readonly DeviceUsage[]): void {
    if (day !== this.#day) return;
    for (const { deviceId } of totals) this.#unsaved.add(deviceId);
  }

  #resetOnNewDay(): void {
    const day = dayOf(this.#options.clock.now());
    if (day === this.#day) return;
    this.#day = day;
    this.#totals.clear();
    this.#unsaved.clear();
  }
}

function dayOf(now: number): string {
  return new Date(now).toISOString().slice(0, 10);
}
