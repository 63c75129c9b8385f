/** The text of `--help` after the list of options. */
export const HELP = `
Examples:
  culvert hub --advertise hub.example.com --listen :443       run a hub
  culvert device create press-7 --output json                 register a device
  culvert agent --service ssh=22 --service web=127.0.0.1:80   on the device
  culvert ssh root@press-7                                    from anywhere
  culvert connect press-7 web=8080 ssh=2222                   its services on local ports
  culvert logs --device press-7 --since 1h                    who reached it, and why it ended

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not authorised, 5 timed out, 6 rejected by the device,
69 unreachable, 78 bad configuration, 130 and 143 when interrupted. CULVERT_DEBUG=1 shows where an error comes from.
\`culvert COMMAND --help\` tells more, also which environment variables name a hub.`;

/** The side that runs a command. It decides which environment variables its help lists. */
export type Side = 'service' | 'device' | 'either';

const SERVICE_VARIABLES = `
  CULVERT_CONNECTION_STRING, CULVERT_CONNECTION_STRING_FILE    a service's connection string, or a file with it
  CULVERT_DATA_DIR      on the hub's machine; default /var/lib/culvert for root, else ~/.local/share/culvert`;

const DEVICE_VARIABLES = `
  CULVERT_DEVICE_CONNECTION_STRING, CULVERT_DEVICE_CONNECTION_STRING_FILE    the device's, or a file with it
  CULVERT_DEVICE_CERT_FILE, CULVERT_DEVICE_KEY_FILE            the device's own certificate and its key`;

const VARIABLES_OF: Readonly<Record<Side, string>> = {
  service: SERVICE_VARIABLES,
  device: DEVICE_VARIABLES,
  either: `${SERVICE_VARIABLES}${DEVICE_VARIABLES}`,
};

/** The end of a command's help: the environment variables of commands that connect to a hub. */
export function environmentOf(side: Side, more = ''): string {
  return `
Flags come first, then the environment${side === 'device' ? ', then the file of --config' : ''}, then defaults. Environment variables:${VARIABLES_OF[side]}
  CULVERT_CA_FILE       the hub's CA, PEM
  HTTPS_PROXY, ALL_PROXY, NO_PROXY                             outbound proxies${more}
  CULVERT_DEBUG         1 shows where an error comes from`;
}

/** Further variables of `culvert agent`. */
export const AGENT_ENVIRONMENT = `
  STATE_DIRECTORY       where the device's key for end-to-end encryption is kept, as systemd sets it; default culvert/agent in
                        XDG_STATE_HOME, else in ~/.local/state`;

/** Further variables of `culvert ssh` and `culvert ssh-config`. */
export const SSH_ENVIRONMENT = `
  XDG_STATE_HOME        host keys are kept in its culvert/known_hosts.d, keys of devices in its culvert/known_devices, this
                        user's own in its culvert/end-key.pem; default ~/.local/state`;

/** Further variables of commands that recognise devices by their keys. */
export const TRUST_ENVIRONMENT = `
  XDG_STATE_HOME        keys of devices are kept in its culvert/known_devices, this user's own in its culvert/end-key.pem;
                        default ~/.local/state`;

/** The environment variables of `culvert trust list`. */
export const PINS_ENVIRONMENT = `
Environment variables:${TRUST_ENVIRONMENT}
  CULVERT_DEBUG         1 shows where an error comes from`;

/** The environment variables of the other `culvert trust` commands, which only need the hub's name. */
export const HUB_NAME_ENVIRONMENT = `
Environment variables:${SERVICE_VARIABLES}${TRUST_ENVIRONMENT}
  CULVERT_DEBUG         1 shows where an error comes from`;

/** The environment variables of commands that do not connect to a hub. */
export const LOCAL_ENVIRONMENT = `
Environment variables:
  CULVERT_DATA_DIR      the hub's data directory; default /var/lib/culvert for root, else ~/.local/share/culvert
  CULVERT_DEBUG         1 shows where an error comes from`;

export const QUICKSTART_ENVIRONMENT = `
Environment variables:
  XDG_DATA_HOME         where its data directory is; default ~/.local/share
  CULVERT_DEBUG         1 shows where an error comes from`;

export const CONNECT_EXAMPLES = `
Examples:
  culvert connect press-7 ssh=2222 web=127.0.0.1:8080
  culvert connect press-7 ssh --stdio
  culvert connect -- -odd-device ssh=2222`;

export const SSH_EXAMPLES = `
ssh's own options may stand before the device or after it; Culvert's before it.
Examples:
  culvert ssh root@press-7
  culvert ssh -i ~/.ssh/plant root@press-7 uname -a
  culvert ssh -L 8080:127.0.0.1:80 -N root@press-7`;

/** How to configure a hub other than by flags. The file is complete: a test parses it. */
export const HUB_CONFIGURATION = `
The file, every key optional, with its default or an example:
  listen: ":8443"
  advertise: [hub.example.com]
  mqttListen: ":8883"
  amqpListen: ":5671"
  clientCertificates: [mqttListen, amqpListen]    # where devices are asked for theirs: listeners, or advertised names on the main port
  proxyProtocol: [listen, mqttListen]     # behind load balancers that speak the PROXY protocol: docs/operating/proxy-protocol.md
  proxyProtocolFrom: [10.0.0.0/8]         # where they are
  gatewayThreads: 4             # threads that relay streams, at an address of their own: docs/operating/gateway-threads.md
  gatewayListen: "192.0.2.2:443"
  gatewayHost: streams.example.com
  gatewayWebAssembly: true      # false: streams cost up to twice the processor time
  adminListen: 127.0.0.1:8444
  dataDir: /var/lib/culvert
  tls: { certFile: fullchain.pem, keyFile: privkey.pem }
  log: { level: info, format: json }
  logs:                         # the resource log: culvert logs
    retentionDays: 30
    maxBytes: 1073741824        # the oldest go beyond
  diagnostics: []               # where records are sent besides: docs/operating/logs.md
  audit:                        # who reached what, in dataDir/audit: docs/operating/audit.md
    enabled: true
    checkpointRecords: 1000     # signed after this many records,
    checkpointMs: 600000        # or so much time
    segmentBytes: 67108864      # of one file; each day begins one too
    checkpoints: { file: /mnt/elsewhere/culvert.jsonl, http: "https://audit.example.com/culvert" }
  tracing: { endpoint: "http://127.0.0.1:4318", sampleRatio: 1 }
  drainMs: 10000                # for running streams to end by themselves when the hub stops
  limits:
    unauthenticatedPerAddress: 512     # connections of one address that have not authenticated
    unauthenticatedConnections: 4096     # the same of all addresses
    offersPerDevice: 64         # offers a device has not answered
    heldRequests: 10000         # requests for streams that wait for their device
    streams: 20000              # streams at once; each takes two file descriptors
    streamsPerDevice: 1000      # of them to one device and its modules
    newStreamsPerSecond: 2000   # asked for over the whole hub
    newStreamsPerSecondPerDevice: 200
    idleMs: 0                   # without a byte before a stream is ended; 0, also below: no limit
    lifetimeMs: 0               # before a stream is ended however busy
    bytesPerStream: 0           # both ways together
    bytesPerDevicePerDay: 0     # both ways together, on a day of UTC
    halfCloseMs: 60000          # without a byte in one direction after the other has ended
    stallMs: 300000             # without progress of a write before its stream is ended

Flags come first, then the environment, then the file, then defaults. Environment variables:
  CULVERT_CONFIG, CULVERT_DATA_DIR, CULVERT_LISTEN, CULVERT_ADVERTISE (names with commas between), CULVERT_MQTT_LISTEN,
  CULVERT_AMQP_LISTEN, CULVERT_CLIENT_CERTIFICATES (with commas too), CULVERT_PROXY_PROTOCOL and
  CULVERT_PROXY_PROTOCOL_FROM (with commas too), CULVERT_GATEWAY_THREADS, CULVERT_GATEWAY_LISTEN,
  CULVERT_GATEWAY_HOST, CULVERT_GATEWAY_WEBASSEMBLY (true or false), CULVERT_ADMIN_LISTEN, CULVERT_TLS_CERT,
  CULVERT_TLS_KEY, CULVERT_LOG_LEVEL, CULVERT_LOG_FORMAT, CULVERT_DEBUG`;
