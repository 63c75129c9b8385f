import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditRecord } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import type { HubEvent } from '../events.ts';
import type { LiveStream } from '../stream-record.ts';
import { AuditLog, type AuditLogOptions } from './audit-log.ts';
import type { Checkpoint } from './checkpoint.ts';
import { listSegments } from './segment-files.ts';
import { type AuditVerdict, verifyAudit } from './verify-audit.ts';

/** A temporary directory for an audit log, with the log's key and the events and checkpoints that the log emitted. */
export class AuditBench {
  readonly directory = mkdtempSync(join(tmpdir(), 'culvert-audit-'));
  readonly keys = generateKeyPairSync('ed25519');
  readonly clock = new FakeClock(Date.UTC(2026, 0, 1, 12));
  readonly told: HubEvent[] = [];
  readonly checkpoints: Checkpoint[] = [];
  /** The open streams, by id. */
  readonly live = new Map<string, LiveStream>();

  open(options: Partial<AuditLogOptions> = {}): Promise<AuditLog> {
    return AuditLog.open({
      directory: this.directory,
      keys: this.keys,
      clock: this.clock,
      onEvent: (event) => this.told.push(event),
      streams: { get: (streamId) => this.live.get(streamId), list: () => [...this.live.values()] },
      onCheckpoint: (checkpoint) => this.checkpoints.push(checkpoint),
      checkpointRecords: 1_000,
      checkpointMs: 600_000,
      segmentBytes: 1_048_576,
      ...options,
    });
  }

  /** Adds an established stream and sends the log its event. */
  establish(log: AuditLog, streamId: string): void {
    const { cause: _, error: __, detail: ___, endedAt: ____, ...stream } = ended(streamId).record;
    this.live.set(streamId, { ...stream, establishedAt: 4_000, deviceAddress: 'a', serviceAddress: 'b' });
    log.observe({ type: 'stream-established', streamId, deviceAddress: 'a', serviceAddress: 'b' });
  }

  /** Ends an established stream and sends the log its event. */
  end(log: AuditLog, streamId: string): void {
    this.live.delete(streamId);
    log.observe(ended(streamId, { establishedAt: 4_000, cause: 'ended_by_service', error: undefined }));
  }

  /** Leaves only the files that are on disk now, as if the process had been killed. */
  async kill(log: AuditLog): Promise<void> {
    await log.settled();
    const left = readdirSync(this.directory).map((name) => join(this.directory, name));
    const texts = left.map((path) => readFileSync(path));
    await log.close();
    for (const name of readdirSync(this.directory)) rmSync(join(this.directory, name));
    for (const [index, path] of left.entries()) writeFileSync(path, texts[index] ?? '');
    this.live.clear();
  }

  async files(): Promise<string[]> {
    return (await listSegments(this.directory)).map(({ path }) => path);
  }

  /** The records of all complete lines of the log. */
  async records(): Promise<AuditRecord[]> {
    const texts = (await this.files()).map((path) => readFileSync(path, 'utf8'));
    return texts.flatMap((text) => text.split('\n').slice(0, -1)).map((line) => JSON.parse(line) as AuditRecord);
  }

  async verify(): Promise<AuditVerdict> {
    const own = readdirSync(this.directory).includes('checkpoints.jsonl');
    return verifyAudit({
      files: await this.files(),
      checkpointFiles: own ? [join(this.directory, 'checkpoints.jsonl')] : [],
      publicKey: this.keys.publicKey,
    });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The event of an ended stream, by default one that the device rejected. */
export function ended(streamId: string, over: Partial<StreamEnded['record']> = {}): StreamEnded {
  return {
    type: 'stream-ended',
    record: {
      deviceId: 'press-7',
      streamId,
      streamName: 'ssh',
      caller: 'policy:service',
      callerAddress: '192.0.2.1',
      traceParent: undefined,
      sessionId: undefined,
      session: undefined,
      gateway: 'hub.example:443',
      requestedAt: 1_000,
      offeredAt: 2_000,
      answeredAt: 3_000,
      answeredBy: { principal: 'device:press-7', protocol: 'mqtt', remoteAddress: '198.51.100.1' },
      establishedAt: undefined,
      serviceAddress: undefined,
      deviceAddress: undefined,
      endedAt: 3_000,
      cause: 'rejected',
      error: 'rejected',
      detail: 'only ssh here',
      fromService: { bytes: 0, messages: 0 },
      fromDevice: { bytes: 0, messages: 0 },
      countedBytes: 0,
      ...over,
    },
  };
}

type StreamEnded = Extract<HubEvent, { type: 'stream-ended' }>;
