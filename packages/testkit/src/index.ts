export { amqpFrame, amqpFrames, amqpHeader, amqpRawFrame, amqpValue } from './amqp-bytes.ts';
export { AmqpDevice, type AmqpOffer, type AmqpSasl } from './amqp-device.ts';
export { amqpDeviceUnderTest, amqpTransport } from './amqp-transport.ts';
export { type AuthoritiesUnderTest, authorityConformance } from './authority-conformance.ts';
export { clientHello, inRecords } from './client-hello.ts';
export { ConnectProxy } from './connect-proxy.ts';
export {
  type ChannelUnderTest,
  controlChannelConformance,
  type DeviceUnderTest,
  type TransportUnderTest,
} from './control-channel-conformance.ts';
export {
  type CertificateOptions,
  CLIENT_AUTHENTICATION,
  type DeviceCertificate,
  deviceCertificate,
  deviceCertificateOf,
  SERVER_AUTHENTICATION,
  type TestAuthority,
  testAuthority,
  type Validity,
} from './device-certificate.ts';
export {
  type DeviceCredentials,
  type DeviceProof,
  type DeviceTransport,
  deviceConformance,
} from './device-conformance.ts';
export {
  authorityCredentials,
  CERTIFICATE_HOST,
  deviceKeyCredentials,
  sasCredentials,
  thumbprintCredentials,
} from './device-credentials.ts';
export { devicePrincipal } from './device-principal.ts';
export { duplexPair } from './duplex-pair.ts';
export { echoOffer } from './echo-offer.ts';
export { FakeClock } from './fake-clock.ts';
export { FaultProxy, type FaultTarget } from './fault-proxy.ts';
export { MqttDevice } from './mqtt-device.ts';
export { mqttTransport } from './mqtt-transport.ts';
export { policyPrincipal } from './policy-principal.ts';
export {
  type RawFrame,
  type RawFrameOptions,
  RawWebSocket,
  type RawWebSocketOptions,
  rawClose,
  rawFrame,
  upgradeRequest,
} from './raw-web-socket.ts';
export { type RegistryUnderTest, registryConformance } from './registry-conformance.ts';
export { azureError, type RestCall, RestCaller, type RestReply } from './rest-caller.ts';
export { sampleDevice, sampleModule } from './sample-records.ts';
export { ScriptedChannel, ScriptedHub, type ScriptedHubOptions, shownCertificate } from './scripted-hub.ts';
export { type TestCertificate, type TestCertificateOptions, testCertificate } from './test-certificate.ts';
export { startGateway, type TestGateway, type TestGatewayOptions } from './test-gateway.ts';
export { startHub, type TestHub, type TestHubOptions } from './test-hub.ts';
export { startThreads, type TestThreadReport, type TestThreads, type TestThreadsOptions } from './test-threads.ts';
export {
  type TlsWebSocketServer,
  type TlsWebSocketServerOptions,
  tlsWebSocketServer,
} from './tls-web-socket-server.ts';
export { startWsRelay, type WsRelay } from './ws-relay.ts';
