import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EndpointInformation, LimitView } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Authenticator } from '../auth/authenticate.ts';
import type { Router } from '../control/router.ts';
import type { StreamReply, StreamRequest } from '../handshake/request-stream.ts';
import type { AuditPage, AuditQuery } from '../observe/audit/read-audit.ts';
import type { EventSink } from '../observe/events.ts';
import type { LogReader } from '../observe/log-store/log-store.ts';
import type { SessionReports } from '../observe/session-reports.ts';
import type { AuthorityStore, PolicyRecord, PolicyStore, Registry } from '../registry/registry.ts';
import type { LiveView } from './live-view-deps.ts';

/** Dependencies of the REST routes. */
export interface ApiDeps {
  readonly registry: Registry;
  readonly policies: PolicyStore;
  readonly authorities: AuthorityStore;
  readonly authenticator: Authenticator;
  readonly router: Router;
  readonly audit: { readonly read: (query: AuditQuery) => Promise<AuditPage> };
  readonly requestStream: (request: StreamRequest) => Promise<StreamReply>;
  /**
   * Reserves one of the held stream requests and returns a function that releases it.
   * @throws CulvertError `too_many_requests`
   */
  readonly hold: (request: Pick<StreamRequest, 'identity' | 'principal' | 'session'>) => () => void;
  readonly live: LiveView;
  readonly sessionReports: Pick<SessionReports, 'fromService'>;
  readonly limitViews: () => LimitView[];
  readonly logs: LogReader;
  readonly endpoints: () => EndpointInformation;
  readonly policyConnectionString: (policy: PolicyRecord) => string;
  /** Called when the request's connection has authenticated. */
  readonly onAuthenticated: (request: FastifyRequest) => void;
  readonly clock: Clock;
  readonly onEvent: EventSink;
  readonly limits: {
    /** Bytes of a request's body. */
    readonly maxBodyBytes: number;
  };
}

/** The Fastify instance the routes are added to, typed by zod. */
export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyInstance['log'],
  ZodTypeProvider
>;
