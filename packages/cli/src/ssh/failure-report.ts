import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** The environment variable by which `culvert ssh` passes the path of its report socket to its ProxyCommand. */
export const REPORT_VARIABLE = 'CULVERT_SSH_REPORT';

/** Bytes of a report: three small fields. */
const MAX_REPORT_BYTES = 256;

/** Maximum milliseconds that a ProxyCommand waits for ssh to be stopped; if it exits before ssh, ssh prints an error. */
const WAIT_MS = 5_000;

/** A failure of the connection to the device: its exit code, and whether ssh already had a stream to the device. */
export interface ConnectionFailure {
  readonly exit: number;
  readonly opened: boolean;
}

/**
 * Receives a report from the ProxyCommand of `culvert ssh` when the connection to the device failed. ssh itself notices only that its ProxyCommand
 * ended, prints two lines, and exits with 255. The socket is in a directory (0700) of its own, and both are removed at the end.
 */
export class FailureReports {
  /** The value for {@link REPORT_VARIABLE}. */
  readonly path: string;
  readonly #server: Server;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  /** Undefined if the socket cannot be created: the user then only sees ssh's own message. */
  static async listen(onFailure: (failure: ConnectionFailure) => void): Promise<FailureReports | undefined> {
    const path = place();
    if (path === undefined) return undefined;
    const server = createServer((socket) => {
      let text = '';
      socket.setEncoding('utf8');
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MAX_REPORT_BYTES) socket.destroy();
        const failure = parse(text);
        if (failure !== undefined) onFailure(failure);
      });
    });
    server.unref();
    const listening = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(path, () => resolve(true));
    });
    const reports = new FailureReports(path, server);
    if (listening) return reports;
    reports.close();
    return undefined;
  }

  close(): void {
    this.#server.close();
    if (process.platform !== 'win32') rmSync(dirname(this.path), { recursive: true, force: true });
  }
}

/** Reports a failure to the `culvert ssh` that started this process. Resolves when ssh has ended or nobody listens. Never rejects. */
export function reportFailure(failure: ConnectionFailure, env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const path = env[REPORT_VARIABLE];
  if (path === undefined || path === '') return Promise.resolve();
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.write(`${JSON.stringify(failure)}\n`));
    socket.setTimeout(WAIT_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.once('close', () => resolve());
    socket.resume();
    // `culvert ssh` does not stop ssh in this case, so there is nothing to wait for.
    if (failure.opened) socket.once('connect', () => socket.end());
    // When ssh ends, it closes this process's standard input.
    else process.stdin.once('end', () => socket.destroy()).resume();
  });
}

function place(): string | undefined {
  if (process.platform === 'win32') return `\\\\.\\pipe\\culvert-${randomUUID()}`;
  try {
    return join(mkdtempSync(join(tmpdir(), 'culvert-')), 'ssh');
  } catch {
    return undefined;
  }
}

function parse(text: string): ConnectionFailure | undefined {
  if (!text.endsWith('\n')) return undefined;
  try {
    const { exit, opened } = JSON.parse(text) as Partial<ConnectionFailure>;
    const isCode = Number.isInteger(exit) && Number(exit) > 0 && Number(exit) < 256;
    return isCode && typeof opened === 'boolean' ? { exit: Number(exit), opened } : undefined;
  } catch {
    return undefined;
  }
}
