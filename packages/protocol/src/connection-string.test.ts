import {
  formatDeviceConnectionString,
  parseDeviceConnectionString,
  parseServiceConnectionString,
} from '@culvert/protocol';
import { describe, expect, it } from 'vitest';

describe('connection strings', () => {
  it('carry ids that contain the separators', () => {
    const deviceId = "-a;b=$(c)'d";
    const text = formatDeviceConnectionString({ host: 'hub.example', port: 8443, deviceId, key: 'c2VjcmV0' });
    expect(parseDeviceConnectionString(text)).toEqual({ host: 'hub.example', port: 8443, deviceId, key: 'c2VjcmV0' });
  });

  it('omit port 443 and read it back', () => {
    const text = formatDeviceConnectionString({ host: 'hub.example', port: 443, deviceId: 'd', key: 'c2VjcmV0' });
    expect(text).toBe('HostName=hub.example;DeviceId=d;SharedAccessKey=c2VjcmV0');
    expect(parseDeviceConnectionString(text).port).toBe(443);
  });

  it("refuse a device's string where a service's is wanted, without quoting the key", () => {
    expect(() => parseServiceConnectionString('HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0')).toThrow(/service/);
  });
});
