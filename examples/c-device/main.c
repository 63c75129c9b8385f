/*
 * A Culvert device in plain C: it accepts streams named `echo` and sends received data back.
 * It needs only an MQTT library (libmosquitto), a WebSocket library (libwebsockets), and OpenSSL for the signature.
 */
#include "device.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void on_signal(int number) {
  (void)number;
  streams_stop();
}

int main(void) {
  static struct identity identity;
  const char *connection_string = getenv("CULVERT_DEVICE_CONNECTION_STRING");
  const char *ca_file = getenv("CULVERT_CA_FILE");
  const char *port = getenv("CULVERT_MQTT_PORT");
  if (connection_string == NULL || !parse_connection_string(connection_string, &identity)) {
    fprintf(stderr, "CULVERT_DEVICE_CONNECTION_STRING must read HostName=…;DeviceId=…;SharedAccessKey=…\n");
    return 78;
  }
  srand((unsigned int)time(NULL));
  if (!streams_open(ca_file) || !control_start(&identity, ca_file, port == NULL ? 8883 : atoi(port))) {
    fprintf(stderr, "Could not start: is CULVERT_CA_FILE readable?\n");
    return 1;
  }
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  streams_run();
  bool accepted = control_stop();
  streams_close();
  return accepted ? 0 : 1;
}
