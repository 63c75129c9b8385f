/** The page of the quickstart's `web` service: explains how the request got there. Holds no text from outside. */
export function page(deviceId: string, visit: number, now: Date): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>You reached ${deviceId}</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.6 system-ui, sans-serif; }
  body { max-width: 38rem; margin: 4rem auto; padding: 0 1.25rem; }
  h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
  ol { padding-left: 1.3rem; } li { margin: .4rem 0; }
  code { font: .92em ui-monospace, monospace; }
  footer { margin-top: 2.5rem; opacity: .65; font-size: .9rem; }
</style>
<h1>You reached the device <code>${deviceId}</code> through Culvert.</h1>
<p>This page is served on a port that only the device itself can reach. What just happened:</p>
<ol>
  <li>Your browser connected to the service-local proxy on this machine.</li>
  <li>The proxy asked the hub for a stream named <code>web</code> to <code>${deviceId}</code>.</li>
  <li>The hub offered it to the device, on the connection the device had opened itself, and the device's agent accepted.</li>
  <li>Both dialled out to the hub's gateway over TLS, and it joined the two.</li>
</ol>
<p>Here all of them share one machine. Put the agent on a device behind any NAT or firewall and nothing else changes.</p>
<footer>Visit ${visit}, ${now.toISOString()}</footer>
</html>
`;
}
