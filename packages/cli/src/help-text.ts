/** What `--help` says after the list of options. */
export const HELP = `
Examples:
  culvert hub --advertise hub.example.com --listen :443       run a hub
  culvert device create press-7 --output json                 register a device
  culvert agent --service ssh=22 --service web=127.0.0.1:80   on the device
  culvert ssh root@press-7                                    from anywhere
  culvert connect press-7 web=8080 ssh=2222                   its services on local ports

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not authorised, 5 timed out, 6 rejected by the device,
69 unreachable, 78 bad configuration, 130 and 143 when interrupted. CULVERT_DEBUG=1 shows where an error comes from.
\`culvert COMMAND --help\` tells more, also which environment variables name a hub.`;

/** How a hub is named by the environment. */
export const ENVIRONMENT = `
Flags come first, then the environment, then files, then defaults:
  CULVERT_CONNECTION_STRING, CULVERT_CONNECTION_STRING_FILE                  a service's connection string
  CULVERT_DEVICE_CONNECTION_STRING, CULVERT_DEVICE_CONNECTION_STRING_FILE    the agent's
  CULVERT_DATA_DIR      on the hub's machine; default /var/lib/culvert for root, else ~/.local/share/culvert
  CULVERT_CA_FILE       the hub's CA, PEM
  HTTPS_PROXY, ALL_PROXY, NO_PROXY                                           outbound proxies`;

/** Examples of `culvert connect`. */
export const CONNECT_EXAMPLES = `
Examples:
  culvert connect press-7 ssh=2222 web=127.0.0.1:8080
  culvert connect press-7 ssh --stdio
  culvert connect -- -odd-device ssh=2222`;
