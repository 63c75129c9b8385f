/** The minimum level of the events that are logged. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** `json`: one JSON object per line, for programs. `text`: one readable line per event, for a terminal. */
export type LogFormat = 'json' | 'text';
