/* The connection string and the shared access signature made from its key (docs/protocol: authentication). */
#include "device.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TOKEN_SECONDS = 3600 };

static const char *const FIELDS[] = {"HostName=", "DeviceId=", "SharedAccessKey="};

/* Returns the end of a field's value: before the next known field, because a device id may contain `;` and `=`. */
static const char *field_end(const char *value) {
  for (const char *at = value; (at = strchr(at, ';')) != NULL; at++)
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
      if (strncmp(at + 1, FIELDS[i], strlen(FIELDS[i])) == 0) return at;
  return value + strlen(value);
}

static bool copy_field(const char *text, const char *field, char *out, size_t size) {
  const char *at = text;
  while (strncmp(at, field, strlen(field)) != 0) {
    at = field_end(at);
    if (*at == '\0') return false;
    at++;
  }
  at += strlen(field);
  size_t length = (size_t)(field_end(at) - at);
  if (length == 0 || length >= size) return false;
  memcpy(out, at, length);
  out[length] = '\0';
  return true;
}

bool parse_connection_string(const char *text, struct identity *identity) {
  if (!copy_field(text, "HostName=", identity->host_name, sizeof identity->host_name) ||
      !copy_field(text, "DeviceId=", identity->device_id, sizeof identity->device_id) ||
      !copy_field(text, "SharedAccessKey=", identity->key, sizeof identity->key))
    return false;
  size_t length = strcspn(identity->host_name, ":");
  if (length >= sizeof identity->host) return false;
  memcpy(identity->host, identity->host_name, length);
  identity->host[length] = '\0';
  return true;
}

/* Percent-encodes all characters except unreserved ones (RFC 3986 §2.3). */
static bool percent_encode(const char *text, char *out, size_t size) {
  static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  size_t used = 0;
  for (; *text != '\0'; text++) {
    if (used + 4 > size) return false;
    if (strchr(unreserved, *text) != NULL)
      out[used++] = *text;
    else
      used += (size_t)snprintf(out + used, size - used, "%%%02X", (unsigned char)*text);
  }
  out[used] = '\0';
  return true;
}

bool sas_token(const struct identity *identity, char *token, size_t size) {
  long long expiry = (long long)time(NULL) + TOKEN_SECONDS;
  char audience[512], resource[1536], text[1600];
  snprintf(audience, sizeof audience, "%s/devices/%s", identity->host_name, identity->device_id);
  if (!percent_encode(audience, resource, sizeof resource)) return false;
  /* The signature covers the audience exactly as it is encoded in the token. */
  int length = snprintf(text, sizeof text, "%s\n%lld", resource, expiry);

  unsigned char key[sizeof identity->key], digest[EVP_MAX_MD_SIZE], base64[4 * EVP_MAX_MD_SIZE / 3 + 4];
  size_t key_text = strlen(identity->key);
  int key_length = EVP_DecodeBlock(key, (const unsigned char *)identity->key, (int)key_text);
  if (key_length < 0) return false;
  /* EVP_DecodeBlock includes the padding in the number of bytes, so subtract it. */
  for (size_t i = key_text; i > 0 && identity->key[i - 1] == '='; i--) key_length--;
  unsigned int digest_length = 0;
  if (HMAC(EVP_sha256(), key, key_length, (const unsigned char *)text, (size_t)length, digest, &digest_length) == NULL)
    return false;
  EVP_EncodeBlock(base64, digest, (int)digest_length);
  char signature[3 * sizeof base64];
  if (!percent_encode((const char *)base64, signature, sizeof signature)) return false;
  int written = snprintf(token, size, "SharedAccessSignature sr=%s&sig=%s&se=%lld", resource, signature, expiry);
  return written > 0 && (size_t)written < size;
}
