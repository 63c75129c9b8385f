import { ServiceClient, type ServiceClientOptions } from '@culvert/service';
import { type ConnectionFlags, type PolicyName, serviceConnection } from './hub-connection.ts';

/** Opens a client for the hub that the flags name, passes it to `use`, and closes it afterwards. */
export async function withClient<T>(
  flags: ConnectionFlags,
  policy: PolicyName,
  use: (client: ServiceClient, connectionString: string) => Promise<T>,
  options: Pick<ServiceClientOptions, 'halfCloseMs' | 'session'> = {},
): Promise<T> {
  const { connectionString, outbound } = serviceConnection(flags, policy);
  const client = ServiceClient.fromConnectionString(connectionString, { outbound, ...options });
  try {
    return await use(client, connectionString);
  } finally {
    client.close();
  }
}
