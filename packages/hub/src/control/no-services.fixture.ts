import { CulvertError } from '@culvert/protocol';
import type { ServiceGateway } from './service-connection.ts';

/** A service gateway that refuses every service. */
export const NO_SERVICES: ServiceGateway = {
  authenticate: () => Promise.reject(new CulvertError('unauthorized')),
  attach: () => {
    throw new CulvertError('unauthorized');
  },
};
