#ifndef ECHO_DEVICE_H
#define ECHO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

/* The hub's address and the device's identity, from HostName=…;DeviceId=…;SharedAccessKey=…. */
struct identity {
  char host_name[300]; /* the value of HostName: host or host:port */
  char host[256];      /* only the host of HostName */
  char device_id[129];
  char key[128]; /* base64 */
};

/* The grant of an accepted stream: the URL and token with which the device connects to the gateway. */
struct grant {
  char url[1024];
  char token[1024];
};

/* identity.c */
bool parse_connection_string(const char *text, struct identity *identity);
/* Writes a shared access signature that is valid for one hour. */
bool sas_token(const struct identity *identity, char *token, size_t size);

/* control.c: the control channel, MQTT 3.1.1 over TLS, on its own thread. */
bool control_start(const struct identity *identity, const char *ca_file, int port);
/* Ends the control channel. Returns false if the hub has refused the device's credential. */
bool control_stop(void);

/* stream.c: the streams, WebSockets, on the thread that calls streams_run. */
bool streams_open(const char *ca_file);
/* Serves streams until streams_stop. */
void streams_run(void);
/* Connects to the gateway with a grant and sends received data back. May be called from any thread. */
void streams_dial(const struct grant *grant);
/* Makes streams_run return. May be called from any thread or a signal handler. */
void streams_stop(void);
/* Frees what streams_open has allocated. No thread may call streams_dial any more. */
void streams_close(void);

#endif
