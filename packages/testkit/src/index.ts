export { duplexPair } from './duplex-pair.ts';
export { FakeClock } from './fake-clock.ts';
export { FaultProxy, type FaultTarget } from './fault-proxy.ts';
export { type TestCertificate, type TestCertificateOptions, testCertificate } from './test-certificate.ts';
