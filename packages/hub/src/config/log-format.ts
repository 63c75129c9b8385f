/** The least level of the events that are logged. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** `json`: one object a line, for machines. `text`: one readable line, for a terminal. */
export type LogFormat = 'json' | 'text';
