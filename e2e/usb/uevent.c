/*
 * uevent GROUP KEY=VALUE...: announces a device to everybody who listens to that netlink group, in the format of udev
 * (systemd, src/libsystemd/sd-device/device-monitor.c). Needs CAP_NET_ADMIN.
 */
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct udev_header {
  char prefix[8];
  uint32_t magic; /* big-endian, as the hashes: the listener's filter in the kernel reads them so */
  uint32_t header_bytes;
  uint32_t properties_offset;
  uint32_t properties_bytes;
  uint32_t subsystem_hash;
  uint32_t devtype_hash;
  uint32_t tag_bloom[2];
};

#define UDEV_MAGIC 0xfeedcafe
#define MAX_PROPERTIES_BYTES 4096

static uint32_t murmur_hash2(const char *text) {
  const uint32_t m = 0x5bd1e995;
  size_t length = strlen(text);
  uint32_t hash = (uint32_t)length;
  for (; length >= 4; text += 4, length -= 4) {
    uint32_t k;
    memcpy(&k, text, 4);
    k *= m;
    k ^= k >> 24;
    hash = hash * m ^ k * m;
  }
  uint32_t rest = 0;
  for (size_t i = 0; i < length; i++) rest |= (uint32_t)(uint8_t)text[i] << (8 * i);
  if (length > 0) hash = (hash ^ rest) * m;
  hash = (hash ^ hash >> 13) * m;
  return hash ^ hash >> 15;
}

static uint32_t hash_of(int count, char *const *properties, const char *key) {
  size_t length = strlen(key);
  for (int i = 0; i < count; i++)
    if (strncmp(properties[i], key, length) == 0 && properties[i][length] == '=') return htonl(murmur_hash2(properties[i] + length + 1));
  return 0;
}

int main(int argc, char **argv) {
  int group = argc > 2 ? atoi(argv[1]) : 0;
  if (group < 3 || group > 32) {
    fputs("usage: uevent GROUP KEY=VALUE...   (GROUP 3 to 32: 1 is the kernel's, 2 is udev's)\n", stderr);
    return 2;
  }
  char **properties = argv + 2;
  int count = argc - 2;
  struct {
    struct udev_header header;
    char properties[MAX_PROPERTIES_BYTES];
  } message;
  size_t bytes = 0;
  for (int i = 0; i < count; i++) {
    size_t length = strlen(properties[i]) + 1;
    if (bytes + length > MAX_PROPERTIES_BYTES) {
      fputs("uevent: too many properties\n", stderr);
      return 2;
    }
    memcpy(message.properties + bytes, properties[i], length);
    bytes += length;
  }
  message.header = (struct udev_header){
      .prefix = "libudev",
      .magic = htonl(UDEV_MAGIC),
      .header_bytes = sizeof message.header,
      .properties_offset = offsetof(__typeof__(message), properties),
      .properties_bytes = (uint32_t)bytes,
      .subsystem_hash = hash_of(count, properties, "SUBSYSTEM"),
      .devtype_hash = hash_of(count, properties, "DEVTYPE"),
  };
  const struct sockaddr_nl sender = {.nl_family = AF_NETLINK}, listeners = {.nl_family = AF_NETLINK, .nl_groups = 1u << (group - 1)};
  int connection = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
  if (connection < 0 || bind(connection, (const struct sockaddr *)&sender, sizeof sender) != 0 ||
      sendto(connection, &message, sizeof message.header + bytes, 0, (const struct sockaddr *)&listeners, sizeof listeners) < 0) {
    perror("uevent");
    return 1;
  }
  return close(connection);
}
