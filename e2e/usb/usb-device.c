/*
 * A device behind a USB/IP server (Linux, Documentation/usb/usbip_protocol.rst; all numbers big-endian): imports it, carries its
 * transfers, and notices when it is unplugged (the server closes the connection) or when the browser has closed its last file.
 */
#define _GNU_SOURCE
#include "usb-shim.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CMD_SUBMIT 1
#define CMD_UNLINK 2
#define RET_SUBMIT 3
#define RET_UNLINK 4
#define HEADER_BYTES 48
#define DEVICE_BLOCK_BYTES 312
#define LIMIT_S 5

static struct device *devices;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;

static void put32(uint8_t *at, uint32_t value) {
  uint32_t big_endian = htonl(value);
  memcpy(at, &big_endian, 4);
}

static uint32_t get32(const uint8_t *at) {
  uint32_t big_endian;
  memcpy(&big_endian, at, 4);
  return ntohl(big_endian);
}

/* USB 2.0, 9.3. */
struct request control_request(unsigned type, unsigned code, unsigned value, unsigned index, void *data, unsigned length) {
  const unsigned bytes[8] = {type, code, value, value >> 8, index, index >> 8, length, length >> 8};
  struct request request = {.in = (type & 0x80) != 0, .out = data, .length = length};
  for (int i = 0; i < 8; i++) request.setup[i] = (uint8_t)bytes[i];
  return request;
}

static bool receive_all(int socket, void *buffer, size_t length) {
  uint8_t *at = buffer;
  while (length > 0) {
    ssize_t count = recv(socket, at, length, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += count;
    length -= (size_t)count;
  }
  return true;
}

static bool send_all(int socket, const void *buffer, size_t length) {
  const uint8_t *at = buffer;
  while (length > 0) {
    ssize_t count = send(socket, at, length, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    at += count;
    length -= (size_t)count;
  }
  return true;
}

/* Connects to the server and takes the device. Returns the socket, or -1. */
static int import_device(uint16_t port, const char bus_id[BUS_ID_BYTES], uint32_t *device_id) {
  int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  const struct timeval limit = {.tv_sec = LIMIT_S}, unlimited = {0};
  const struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  uint8_t request[8 + BUS_ID_BYTES] = {0x01, 0x11, 0x80, 0x03}, reply[8], block[DEVICE_BLOCK_BYTES];
  memcpy(request + 8, bus_id, BUS_ID_BYTES);
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(connection, (const struct sockaddr *)&server, sizeof server) != 0 || !send_all(connection, request, sizeof request) ||
      !receive_all(connection, reply, sizeof reply) || get32(reply + 4) != 0 || !receive_all(connection, block, sizeof block)) {
    close(connection);
    return -1;
  }
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &unlimited, sizeof unlimited);
  *device_id = get32(block + 288) << 16 | get32(block + 292);
  return connection;
}

static void watch(struct device *device, int fd, struct file *file) {
  /* A hang-up is reported unasked. */
  struct epoll_event event = {.events = file == NULL ? EPOLLIN : 0, .data.ptr = file};
  epoll_ctl(device->epoll, EPOLL_CTL_ADD, fd, &event);
}

struct transfer *device_submit(struct device *device, const struct request *request, completion *complete) {
  if (device->gone || device->resetting) return NULL;
  uint32_t out_bytes = request->in ? 0 : request->length;
  struct transfer *transfer = calloc(1, sizeof *transfer);
  uint8_t *command = calloc(1, HEADER_BYTES + out_bytes);
  if (transfer == NULL || command == NULL) abort();
  transfer->sequence = ++device->last_sequence;
  transfer->in = request->in;
  transfer->length = request->length;
  transfer->complete = complete;
  put32(command, CMD_SUBMIT);
  put32(command + 4, transfer->sequence);
  put32(command + 8, device->device_id);
  put32(command + 12, request->in ? 1 : 0);
  put32(command + 16, request->endpoint);
  put32(command + 20, request->flags);
  put32(command + 24, request->length);
  put32(command + 32, UINT32_MAX); /* not isochronous */
  memcpy(command + 40, request->setup, 8);
  if (out_bytes > 0) memcpy(command + HEADER_BYTES, request->out, out_bytes);
  /* Where this fails the device's thread sees the end of the connection, and completes what is pending. */
  if (!send_all(device->socket, command, HEADER_BYTES + out_bytes)) shutdown(device->socket, SHUT_RDWR);
  free(command);
  transfer->next = device->pending;
  device->pending = transfer;
  return transfer;
}

void device_unlink(struct device *device, struct transfer *transfer) {
  if (device->gone || device->resetting || transfer->unlink_sequence != 0) return;
  uint8_t command[HEADER_BYTES] = {0};
  transfer->unlink_sequence = ++device->last_sequence;
  put32(command, CMD_UNLINK);
  put32(command + 4, transfer->unlink_sequence);
  put32(command + 8, device->device_id);
  put32(command + 20, transfer->sequence);
  if (!send_all(device->socket, command, sizeof command)) shutdown(device->socket, SHUT_RDWR);
}

void transfer_drop(struct device *device, struct transfer *transfer) {
  (void)device;
  free(transfer->data);
  free(transfer);
}

static void somebody_waits(struct device *device, struct transfer *transfer) {
  (void)device;
  transfer->done = true;
  pthread_cond_broadcast(&progress);
}

static struct timespec limit_from_now(void) {
  struct timespec limit;
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += LIMIT_S;
  return limit;
}

/* Waits, as the kernel does for a process, without the lock. What comes in goes to `in`, which has room for the request's length. */
int device_transfer(struct device *device, const struct request *request, void *in) {
  struct transfer *transfer = device_submit(device, request, somebody_waits);
  if (transfer == NULL) return -ENODEV;
  const struct timespec limit = limit_from_now();
  while (!transfer->done) {
    if (pthread_cond_timedwait(&progress, &shim_lock, &limit) == 0 || transfer->done) continue;
    /* It is still pending, so the device is still there. */
    transfer->complete = transfer_drop;
    device_unlink(device, transfer);
    return -ETIMEDOUT;
  }
  int result = transfer->status != 0 ? transfer->status : (int)transfer->actual;
  if (result > 0 && transfer->in) memcpy(in, transfer->data, transfer->actual);
  transfer_drop(device, transfer);
  return result;
}

/* The server resets a device whose connection ends; USB/IP has no word for it. The browser's files and claims stay. */
int device_reset(struct device *device) {
  if (device->resetting) return -EBUSY;
  const struct timespec limit = limit_from_now();
  device->resetting = true;
  shutdown(device->socket, SHUT_WR);
  while (device->resetting) {
    if (pthread_cond_timedwait(&progress, &shim_lock, &limit) == 0 || !device->resetting) continue;
    shutdown(device->socket, SHUT_RDWR);
    return -ETIMEDOUT;
  }
  return device->gone ? -ENODEV : 0;
}

static void complete_all(struct device *device, int status) {
  while (device->pending != NULL) {
    struct transfer *transfer = device->pending;
    device->pending = transfer->next;
    transfer->status = status;
    transfer->complete(device, transfer);
  }
}

static void forget_device(const struct device *device) {
  for (struct device **at = &devices; *at != NULL; at = &(*at)->next) {
    if (*at != device) continue;
    *at = device->next;
    return;
  }
}

/* The connection has ended: because of a reset, or the device was unplugged. */
static void connection_ended(struct device *device) {
  bool resetting = device->resetting;
  int connection = -1;
  device->gone = true;
  close(device->socket);
  complete_all(device, resetting ? -ENOENT : -ESHUTDOWN);
  if (resetting) {
    pthread_mutex_unlock(&shim_lock);
    connection = import_device(device->port, device->bus_id, &device->device_id);
    pthread_mutex_lock(&shim_lock);
  }
  device->socket = connection;
  device->resetting = false;
  device->gone = connection < 0;
  trace("%s %s", device->bus_id, device->gone ? "is gone" : "was reset");
  if (device->gone) {
    forget_device(device);
    for (struct file *file = device->files; file != NULL; file = file->next) (file->node.is_hid ? hidraw_hang_up : usbfs_signal)(file);
  } else {
    watch(device, connection, NULL);
    hidraw_files_changed(device);
  }
  pthread_cond_broadcast(&progress);
}

/* Only the device's thread takes transfers out of the list: what is found stays there while the lock is not held. */
static struct transfer *find_pending(struct device *device, uint32_t command, uint32_t sequence) {
  struct transfer *transfer = device->pending;
  while (transfer != NULL && sequence != (command == RET_SUBMIT ? transfer->sequence : transfer->unlink_sequence)) transfer = transfer->next;
  return transfer;
}

static void take_out(struct device *device, struct transfer *transfer) {
  struct transfer **at = &device->pending;
  while (*at != transfer) at = &(*at)->next;
  *at = transfer->next;
}

/* One answer of the server; false: the connection is of no more use. Called and left with the lock held. */
static bool receive_answer(struct device *device) {
  uint8_t header[HEADER_BYTES] = {0};
  int connection = device->socket;
  pthread_mutex_unlock(&shim_lock);
  bool ok = receive_all(connection, header, sizeof header);
  pthread_mutex_lock(&shim_lock);
  uint32_t command = get32(header), actual = get32(header + 24);
  int status = (int32_t)get32(header + 20);
  if (!ok || (command != RET_SUBMIT && command != RET_UNLINK)) return false;
  struct transfer *transfer = find_pending(device, command, get32(header + 4));
  /* What was answered already can no longer be taken back. */
  if (transfer == NULL) return command == RET_UNLINK;
  if (command == RET_UNLINK) {
    if (status == 0) return true; /* the answer to the transfer itself went before, or follows */
    transfer->status = -ENOENT;
  } else {
    /* The length is the server's word, the room for it is the browser's. */
    if (actual > transfer->length) return false;
    if (transfer->in && actual > 0) {
      transfer->data = malloc(actual);
      if (transfer->data == NULL) abort();
      pthread_mutex_unlock(&shim_lock);
      ok = receive_all(connection, transfer->data, actual);
      pthread_mutex_lock(&shim_lock);
      if (!ok) return false;
    }
    transfer->status = status;
    transfer->actual = actual;
  }
  take_out(device, transfer);
  transfer->complete(device, transfer);
  return true;
}

static void close_file(struct device *device, struct file *file) {
  struct file **at = &device->files;
  while (*at != file) at = &(*at)->next;
  *at = file->next;
  forget_file(file);
  close(file->our_end);
  for (int i = 0; i < MAX_INTERFACES; i++)
    if (device->holder[i] == file) device->holder[i] = NULL;
  for (struct transfer *transfer = device->pending; transfer != NULL; transfer = transfer->next) {
    if (transfer->file != file) continue;
    transfer->complete = transfer_drop;
    transfer->file = NULL;
    device_unlink(device, transfer);
  }
  while (file->finished != NULL) {
    struct transfer *transfer = file->finished;
    file->finished = transfer->next;
    transfer_drop(device, transfer);
  }
  hidraw_files_changed(device);
  trace("close %s %d", device->bus_id, file->fd);
  free(file);
}

/* Waits for the server to end its side too: it has freed the device then, and who opens it next finds it free. */
static void disconnect(int connection) {
  const struct timeval limit = {.tv_sec = LIMIT_S};
  char rest[512];
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  shutdown(connection, SHUT_WR);
  while (recv(connection, rest, sizeof rest, 0) > 0) continue;
  close(connection);
}

static void *device_thread(void *argument) {
  struct device *device = argument;
  struct epoll_event event;
  pthread_mutex_lock(&shim_lock);
  while (device->files != NULL) {
    pthread_mutex_unlock(&shim_lock);
    int count = epoll_wait(device->epoll, &event, 1, -1);
    pthread_mutex_lock(&shim_lock);
    if (count != 1) continue;
    if (event.data.ptr != NULL) close_file(device, event.data.ptr);
    else if (!receive_answer(device)) connection_ended(device);
  }
  if (!device->gone) {
    forget_device(device);
    device->gone = true;
    disconnect(device->socket);
  }
  complete_all(device, -ESHUTDOWN);
  close(device->epoll);
  free(device);
  pthread_mutex_unlock(&shim_lock);
  return NULL;
}

static struct device *find_device(const struct node *node) {
  struct device *device = devices;
  while (device != NULL && (device->port != node->port || strcmp(device->bus_id, node->bus_id) != 0)) device = device->next;
  return device;
}

static struct device *connect_device(const struct node *node) {
  uint32_t device_id;
  int connection = import_device(node->port, node->bus_id, &device_id);
  if (connection < 0) return NULL;
  struct device *device = calloc(1, sizeof *device);
  if (device == NULL) abort();
  device->port = node->port;
  memcpy(device->bus_id, node->bus_id, BUS_ID_BYTES);
  device->device_id = device_id;
  device->socket = connection;
  device->epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(device, connection, NULL);
  device->next = devices;
  devices = device;
  return device;
}

/* Makes `file` one of its device's; false where no server has the device. */
bool device_open(struct file *file) {
  struct device *device = find_device(&file->node);
  bool is_new = device == NULL;
  if (is_new) device = connect_device(&file->node);
  if (device == NULL) return false;
  file->device = device;
  file->next = device->files;
  device->files = file;
  watch(device, file->our_end, file);
  hidraw_files_changed(device);
  if (!is_new) return true;
  pthread_t thread;
  if (pthread_create(&thread, NULL, device_thread, device) != 0) abort();
  pthread_detach(thread);
  return true;
}
