// The Registry of the unmodified azure-iothub; its operations are called by name.
import azureIothub from 'azure-iothub';
import { serveLines } from './serve-lines.mjs';

const registry = azureIothub.Registry.fromConnectionString(process.env.CONNECTION_STRING);

serveLines({
  call: async (operation, ...args) => {
    const { responseBody, httpResponse } = await registry[operation](...args);
    return { status: httpResponse.statusCode, body: responseBody };
  },
});
