/* The streams: one WebSocket per grant (docs/protocol: streaming endpoint), all on one event loop. */
#include "device.h"

#include <libwebsockets.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  CHUNK = 65536, /* the largest frame that a gateway sends, and the most bytes per receive callback */
  ENOUGH = 4 * CHUNK, /* bytes waiting to be written at which a stream is no longer read */
};

/* Received data that waits to be written back: the data of one receive callback. */
struct piece {
  struct piece *next;
  size_t length;
  enum lws_write_protocol kind;
  unsigned char bytes[]; /* LWS_PRE bytes for the library, then the piece itself */
};

struct stream {
  struct stream *next; /* the next in the list of waiting streams, later in the list of open streams */
  struct lws *wsi;
  struct grant grant;
  size_t received, held; /* bytes received in total; bytes waiting to be written */
  struct piece *first, **last;
  bool paused;
  unsigned int close_code;
};

static struct lws_context *context;
static atomic_bool stopping;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stream *waiting; /* guarded by `lock` */
static struct stream *open_streams;

static int append_token(struct lws *wsi, const struct stream *stream, unsigned char **at, size_t room) {
  char value[sizeof stream->grant.token + 8];
  int length = snprintf(value, sizeof value, "Bearer %s", stream->grant.token);
  return lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, (const unsigned char *)value, length, at,
                                      *at + room);
}

static int hold(struct lws *wsi, struct stream *stream, const void *data, size_t length) {
  struct piece *piece = malloc(sizeof *piece + LWS_PRE + length);
  if (piece == NULL) return -1;
  bool first = lws_is_first_fragment(wsi), last = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
  piece->next = NULL;
  piece->length = length;
  piece->kind = lws_write_ws_flags(lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT, first, last);
  memcpy(piece->bytes + LWS_PRE, data, length);
  *stream->last = piece;
  stream->last = &piece->next;
  stream->held += length;
  stream->received += length;
  return lws_callback_on_writable(wsi) < 0 ? -1 : 0;
}

static void drop_first(struct stream *stream) {
  struct piece *piece = stream->first;
  stream->held -= piece->length;
  stream->first = piece->next;
  if (stream->first == NULL) stream->last = &stream->first;
  free(piece);
}

static int release(struct lws *wsi, struct stream *stream) {
  struct piece *piece = stream->first;
  if (piece == NULL) return 0;
  if (lws_write(wsi, piece->bytes + LWS_PRE, piece->length, piece->kind) < 0) return -1;
  drop_first(stream);
  return stream->first != NULL && lws_callback_on_writable(wsi) < 0 ? -1 : 0;
}

/*
 * Stops reading a stream while ENOUGH bytes or more wait to be written: this causes back-pressure at the sender and limits the memory in use.
 * It is called between two rounds of events and not in the receive callback, because libwebsockets 4.1 copies its buffered data without
 * end if reading is stopped while TLS has more data.
 */
static void apply_back_pressure(void) {
  for (struct stream *stream = open_streams; stream != NULL; stream = stream->next) {
    bool enough = stream->held >= ENOUGH;
    if (stream->wsi == NULL || enough == stream->paused) continue;
    stream->paused = enough;
    lws_rx_flow_control(stream->wsi, enough ? 0 : 1);
  }
}

static void end(struct stream *stream) {
  struct stream **at = &open_streams;
  while (*at != NULL && *at != stream) at = &(*at)->next;
  if (*at != NULL) *at = stream->next;
  while (stream->first != NULL) drop_first(stream);
  free(stream);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
  (void)user;
  struct stream *stream = wsi == NULL ? NULL : lws_get_opaque_user_data(wsi);
  if (stream == NULL) return 0;
  switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
      return append_token(wsi, stream, in, length);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
      stream->wsi = wsi;
      return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
      return length == 0 ? 0 : hold(wsi, stream, in, length);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
      return release(wsi, stream);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
      if (length >= 2) stream->close_code = ((unsigned char *)in)[0] << 8 | ((unsigned char *)in)[1];
      /* The library sends its close frame next, after which no data may follow, so write all data now. It buffers what the socket does not accept. */
      while (stream->first != NULL)
        if (release(wsi, stream) < 0) return -1;
      return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
      fprintf(stderr, "stream failed: %s\n", in == NULL ? "no reason given" : (const char *)in);
      break;
    case LWS_CALLBACK_CLIENT_CLOSED:
      if (stream->close_code != 0)
        fprintf(stderr, "stream ended after %zu bytes: close code %u\n", stream->received, stream->close_code);
      else
        fprintf(stderr, "stream lost after %zu bytes\n", stream->received);
      break;
    default:
      return 0;
  }
  lws_set_opaque_user_data(wsi, NULL);
  end(stream);
  return 0;
}

static const struct lws_protocols PROTOCOLS[] = {{"echo", on_event, 0, CHUNK, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};

static void dial(struct stream *stream) {
  const char *scheme, *address, *path;
  char absolute[sizeof stream->grant.url], host[300];
  int port;
  if (lws_parse_uri(stream->grant.url, &scheme, &address, &port, &path) != 0 || strcmp(scheme, "wss") != 0) {
    free(stream);
    return;
  }
  snprintf(absolute, sizeof absolute, "/%s", path);
  snprintf(host, sizeof host, "%s:%d", address, port);
  struct lws_client_connect_info info = {
      .context = context,
      .address = address,
      .port = port,
      .path = absolute,
      .host = host,
      .ssl_connection = LCCSCF_USE_SSL,
      .local_protocol_name = PROTOCOLS[0].name, /* the protocol's local name only: without an offered subprotocol the gateway sends no pings */
      .opaque_user_data = stream,
  };
  stream->last = &stream->first;
  stream->next = open_streams;
  open_streams = stream;
  /* If this fails, the library has already called on_event with CLIENT_CONNECTION_ERROR, which has freed the stream. */
  lws_client_connect_via_info(&info);
}

bool streams_open(const char *ca_file) {
  lws_set_log_level(LLL_ERR, NULL);
  struct lws_context_creation_info info = {
      .port = CONTEXT_PORT_NO_LISTEN,
      .protocols = PROTOCOLS,
      .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
      .client_ssl_ca_filepath = ca_file,
      .gid = -1,
      .uid = -1,
  };
  context = lws_create_context(&info);
  return context != NULL;
}

void streams_dial(const struct grant *grant) {
  struct stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return;
  stream->grant = *grant;
  pthread_mutex_lock(&lock);
  stream->next = waiting;
  waiting = stream;
  pthread_mutex_unlock(&lock);
  lws_cancel_service(context);
}

static struct stream *take(void) {
  pthread_mutex_lock(&lock);
  struct stream *stream = waiting;
  if (stream != NULL) waiting = stream->next;
  pthread_mutex_unlock(&lock);
  return stream;
}

void streams_run(void) {
  while (!stopping && lws_service(context, 0) >= 0) {
    for (struct stream *stream = take(); stream != NULL; stream = take()) dial(stream);
    apply_back_pressure();
  }
}

void streams_stop(void) {
  stopping = true;
  lws_cancel_service(context);
}

void streams_close(void) {
  for (struct stream *stream = take(); stream != NULL; stream = take()) free(stream);
  lws_context_destroy(context);
}
