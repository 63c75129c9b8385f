#ifndef ECHO_DEVICE_H
#define ECHO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

/* Where the hub is and who we are, from HostName=…;DeviceId=…;SharedAccessKey=…. */
struct identity {
  char host_name[300]; /* HostName as it stands: host or host:port */
  char host[256];      /* its host alone */
  char device_id[129];
  char key[128]; /* base64 */
};

/* A stream the device accepted: the grant it dials. */
struct grant {
  char url[1024];
  char token[1024];
};

/* identity.c */
bool parse_connection_string(const char *text, struct identity *identity);
/* Writes a shared access signature that is good for an hour. */
bool sas_token(const struct identity *identity, char *token, size_t size);

/* control.c: the control channel, MQTT 3.1.1 over TLS, on a thread of its own. */
bool control_start(const struct identity *identity, const char *ca_file, int port);
/* Ends it. Returns false when the hub had refused our credential. */
bool control_stop(void);

/* stream.c: the streams, WebSockets, on the thread that calls streams_run. */
bool streams_open(const char *ca_file);
/* Serves streams until streams_stop. */
void streams_run(void);
/* Dials a grant and echoes. From any thread. */
void streams_dial(const struct grant *grant);
/* From any thread or a signal handler. */
void streams_stop(void);
/* Frees what streams_open made, once no thread dials any more. */
void streams_close(void);

#endif
