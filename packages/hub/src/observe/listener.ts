/** The protocols of control channels. */
export type ControlTransportName = 'mqtt' | 'amqp';

/** The configuration key for the listen address of one of these protocols directly over TLS (without WebSocket). */
export type ControlListenKey = `${ControlTransportName}Listen`;

/** The transport of a control channel: a protocol directly over TLS, or over WebSocket (`-ws`). */
export type ControlProtocol = ControlTransportName | `${ControlTransportName}-ws`;

/** All transports of control channels. */
export const CONTROL_PROTOCOLS: readonly ControlProtocol[] = ['mqtt', 'mqtt-ws', 'amqp', 'amqp-ws'];

/** The names of the listeners, as events and metrics give them. */
export type ListenerName = 'tls' | 'rest' | ControlProtocol | 'gateway' | 'admin';
