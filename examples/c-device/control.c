/* The control channel: stays connected to the hub and answers its stream offers (docs/protocol: control channel). */
#include "device.h"

#include <mosquitto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  KEEPALIVE_SECONDS = 25, /* below the 60 s after which NATs and load balancers forget a connection */
  MAX_BACKOFF_SECONDS = 30,
  NOT_AUTHORIZED = 5, /* CONNACK return code, MQTT 3.1.1 §3.2.2.3 */
};

static struct {
  const struct identity *identity;
  struct mosquitto *client;
  int port;
  pthread_t thread;
  atomic_bool stopping;
  bool attached, refused; /* the thread's own until it has ended */
} control;

static void on_connect(struct mosquitto *client, void *data, int code) {
  (void)data;
  if (code == 0) {
    mosquitto_subscribe(client, NULL, "$iothub/streams/POST/#", 0);
    return;
  }
  fprintf(stderr, "the hub refused: %s\n", mosquitto_connack_string(code));
  /* A retry with the same key would fail too. */
  if (code == NOT_AUTHORIZED) control.refused = true;
  mosquitto_disconnect(client);
}

static void on_subscribe(struct mosquitto *client, void *data, int id, int count, const int *granted) {
  (void)client, (void)data, (void)id, (void)count, (void)granted;
  control.attached = true;
  fprintf(stderr, "attached as %s\n", control.identity->device_id);
}

/* Copies the value of `&name=` or `?name=` and decodes its percent escapes; only the URL contains any. */
static bool parameter(const char *query, const char *name, char *out, size_t size) {
  const char *at = strstr(query, name);
  if (at == NULL) return false;
  at += strlen(name);
  size_t used = 0;
  for (; *at != '\0' && *at != '&'; at++) {
    if (used + 1 >= size) return false;
    unsigned int byte;
    if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1) {
      out[used++] = (char)byte;
      at += 2;
    } else {
      out[used++] = *at;
    }
  }
  out[used] = '\0';
  return used > 0;
}

/* An offer's topic is $iothub/streams/POST/{name}/?$rid={rid}&$url={encoded url}&$auth={token}. */
static void on_message(struct mosquitto *client, void *data, const struct mosquitto_message *message) {
  (void)data;
  char name[129], request_id[65], topic[128], reason[256] = "";
  struct grant grant;
  if (sscanf(message->topic, "$iothub/streams/POST/%128[^/]/?", name) != 1) return;
  const char *query = strrchr(message->topic, '/');
  if (!parameter(query, "?$rid=", request_id, sizeof request_id) ||
      !parameter(query, "&$url=", grant.url, sizeof grant.url) ||
      !parameter(query, "&$auth=", grant.token, sizeof grant.token))
    return;
  bool accepted = strcmp(name, "echo") == 0;
  if (!accepted) snprintf(reason, sizeof reason, "This device offers echo, not %s.", name);
  fprintf(stderr, "offer %s: %s\n", name, accepted ? "accepted" : "rejected");
  snprintf(topic, sizeof topic, "$iothub/streams/res/%d/?$rid=%s", accepted ? 200 : 400, request_id);
  mosquitto_publish(client, NULL, topic, (int)strlen(reason), reason, 0, false);
  if (accepted) streams_dial(&grant);
}

/* Connects once. Returns when the connection is lost, refused, or ended by this device. */
static void connect_once(void) {
  char username[512], token[2048];
  const struct identity *identity = control.identity;
  snprintf(username, sizeof username, "%s/%s/?api-version=2020-09-30", identity->host_name, identity->device_id);
  /* Each connection needs a new token. When the token expires, the hub ends the connection, and control_loop reconnects. */
  if (!sas_token(identity, token, sizeof token) ||
      mosquitto_username_pw_set(control.client, username, token) != MOSQ_ERR_SUCCESS)
    return;
  int result = mosquitto_connect(control.client, identity->host, control.port, KEEPALIVE_SECONDS);
  while (result == MOSQ_ERR_SUCCESS && !control.stopping) result = mosquitto_loop(control.client, 500, 1);
  if (control.stopping)
    mosquitto_disconnect(control.client);
  else
    fprintf(stderr, "detached: %s\n", mosquitto_strerror(result));
}

static void *control_loop(void *data) {
  unsigned int backoff = 1;
  while (!control.stopping) {
    control.attached = false;
    connect_once();
    if (control.refused) break;
    backoff = control.attached ? 1 : backoff * 2 > MAX_BACKOFF_SECONDS ? MAX_BACKOFF_SECONDS : backoff * 2;
    /* Jitter, so that the devices of a fleet do not all reconnect at the same time after the hub was down. */
    unsigned int tenths = (unsigned int)rand() % (10 * backoff) + 1;
    for (; tenths > 0 && !control.stopping; tenths--) usleep(100000);
  }
  if (control.refused) streams_stop();
  return data;
}

bool control_start(const struct identity *identity, const char *ca_file, int port) {
  mosquitto_lib_init();
  control.identity = identity;
  control.port = port;
  control.client = mosquitto_new(identity->device_id, true, NULL);
  if (control.client == NULL ||
      mosquitto_tls_set(control.client, ca_file, ca_file == NULL ? "/etc/ssl/certs" : NULL, NULL, NULL, NULL) !=
          MOSQ_ERR_SUCCESS)
    return false;
  mosquitto_connect_callback_set(control.client, on_connect);
  mosquitto_subscribe_callback_set(control.client, on_subscribe);
  mosquitto_message_callback_set(control.client, on_message);
  return pthread_create(&control.thread, NULL, control_loop, NULL) == 0;
}

bool control_stop(void) {
  control.stopping = true;
  pthread_join(control.thread, NULL);
  mosquitto_destroy(control.client);
  mosquitto_lib_cleanup();
  return !control.refused;
}
