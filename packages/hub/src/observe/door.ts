/** How a control channel is carried. */
export type ControlProtocol = 'mqtt' | 'mqtt-ws' | 'amqp' | 'amqp-ws';

/** The doors a connection can come in by. */
export type Door = 'tls' | 'rest' | ControlProtocol | 'gateway' | 'admin';
