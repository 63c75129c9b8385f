// Azure's proxy quickstart for services: a local port, and one stream for each connection. It uses the request code of the published azure-iothub
// and the `websocket-stream` package that the quickstart used. The package's own `initiateStream` was never published.
import { createServer } from 'node:net';
import azureIothub from 'azure-iothub';
import { RestApiClient } from 'azure-iothub/dist/common-http/rest_api_client.js';
import websocket from 'websocket-stream';

const { CONNECTION_STRING, DEVICE_ID } = process.env;
const fields = azureIothub.ConnectionString.parse(CONNECTION_STRING);
const { HostName, SharedAccessKeyName, SharedAccessKey } = fields;
const signature = azureIothub.SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, Date.now());
const rest = new RestApiClient({ host: HostName, sharedAccessSignature: signature }, 'azure-iothub/1.10.0-preview.0');

function initiateStream(streamName) {
  const path = `/twins/${encodeURIComponent(DEVICE_ID)}/streams/${streamName}?api-version=2018-10-20-preview`;
  const headers = {
    'iothub-streaming-connect-timeout-in-seconds': 30,
    'iothub-streaming-response-timeout-in-seconds': 30,
  };
  return new Promise((resolve, reject) => {
    rest.executeApiCall('POST', path, headers, null, 60_000, (error, _body, response) =>
      error ? reject(error) : resolve(response.headers),
    );
  });
}

const server = createServer(async (socket) => {
  const grant = await initiateStream('TestStream');
  const stream = websocket(grant['iothub-streaming-url'], {
    headers: { Authorization: `Bearer ${grant['iothub-streaming-auth-token']}` },
  });
  stream.on('error', (error) => console.error(error.message));
  socket.on('error', (error) => console.error(error.message));
  socket.pipe(stream).pipe(socket);
});
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
