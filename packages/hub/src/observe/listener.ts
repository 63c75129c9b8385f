/** The protocols that control channels speak. */
export type ControlTransportName = 'mqtt' | 'amqp';

/** The key of the configuration that says where one is listened for over TLS alone. */
export type ControlListenKey = `${ControlTransportName}Listen`;

/** How a control channel is carried: over TLS alone, or over WebSocket. */
export type ControlProtocol = ControlTransportName | `${ControlTransportName}-ws`;

/** All of them. */
export const CONTROL_PROTOCOLS: readonly ControlProtocol[] = ['mqtt', 'mqtt-ws', 'amqp', 'amqp-ws'];

/** The listeners a connection can come in by. */
export type ListenerName = 'tls' | 'rest' | ControlProtocol | 'gateway' | 'admin';
