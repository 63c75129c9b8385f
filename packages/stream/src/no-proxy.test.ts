import { describe, expect, it } from 'vitest';
import { bypassesProxy } from './no-proxy.ts';

const cases: [noProxy: string, url: string, bypassed: boolean][] = [
  ['', 'wss://hub.example', false],
  ['*', 'wss://hub.example', true],
  ['other.example,*', 'wss://hub.example', true],
  ['hub.example', 'wss://hub.example', true],
  ['HUB.Example', 'wss://hub.example:8443', true],
  ['hub.example.', 'wss://hub.example', true],
  ['hub.example', 'wss://hub.example.', true],
  ['example', 'wss://hub.example', true],
  ['.example', 'wss://hub.example', true],
  ['*.example', 'wss://a.hub.example', true],
  ['.hub.example', 'wss://hub.example', true],
  ['hub.example', 'wss://myhub.example', false],
  ['hub.example', 'wss://hub.example.evil', false],
  ['ample', 'wss://hub.example', false],
  ['.', 'wss://hub.example', false],
  ['hub.example:8443', 'wss://hub.example:8443', true],
  ['hub.example:8443', 'wss://hub.example', false],
  ['hub.example:443', 'wss://hub.example', true],
  ['.example:9', 'wss://hub.example:9', true],
  ['a b\tc,hub.example', 'wss://hub.example', true],
  [' , ,', 'wss://hub.example', false],
  ['localhost', 'wss://localhost:8443', true],
  ['localhost', 'wss://127.0.0.1:8443', false],
  ['example', 'wss://localhost', false],
  ['127.0.0.1', 'wss://127.0.0.1:8443', true],
  ['127.0.0.1', 'wss://127.0.0.11', false],
  ['0.0.1', 'wss://127.0.0.1', false],
  ['127.0.0.1:8443', 'wss://127.0.0.1:8443', true],
  ['127.0.0.1:8443', 'wss://127.0.0.1:9443', false],
  ['127.0.0.0/8', 'wss://127.3.4.5', true],
  ['10.0.0.0/8', 'wss://11.0.0.1', false],
  ['10.0.0.0/8:8443', 'wss://10.1.2.3:8443', true],
  ['10.0.0.0/8:8443', 'wss://10.1.2.3', false],
  ['10.0.0.0/8', 'wss://10.example', false],
  ['10.0.0.0/33', 'wss://10.0.0.0', false],
  ['10.0.0.0/-1', 'wss://10.0.0.0', false],
  ['10.0.0.0/', 'wss://10.0.0.0', false],
  ['0.0.0.0/0', 'wss://192.0.2.9', true],
  ['::1', 'wss://[::1]:8443', true],
  ['[::1]', 'wss://[::1]:8443', true],
  ['[::1]:8443', 'wss://[::1]:8443', true],
  ['[::1]:8444', 'wss://[::1]:8443', false],
  ['fd00::/8', 'wss://[fd12:3456::1]', true],
  ['[fd00::/8]:8443', 'wss://[fd12:3456::1]:8443', true],
  ['fd00::/8', 'wss://[fe80::1]', false],
  ['::1', 'wss://127.0.0.1', false],
];

describe('NO_PROXY', () => {
  it.each(cases)("'%s' for %s: %s", (noProxy, url, bypassed) => {
    expect(bypassesProxy(new URL(url), noProxy)).toBe(bypassed);
  });
});
