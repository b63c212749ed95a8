/*
 * Preloaded into Chromium, it makes emulated USB devices appear as /dev/bus/usb/BBB/DDD and /dev/hidrawN, so that the
 * browser's own WebUSB and WebHID code runs unchanged without support from the kernel.
 *
 * KESSAI_USB_DEV           a folder that stands for /dev: its files bus/usb/BBB/DDD and hidrawN say in one line where a device is,
 *                          "PORT BUSID HELD [INTERFACE IN OUT INPUT_BYTES]"; they come and go with the devices
 * KESSAI_USB_UEVENT_GROUP  the netlink group that stands for udev's
 * KESSAI_USB_TRACE         if set, tells on stderr what is asked of the devices
 */
#define _GNU_SOURCE
#include "usb-shim.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FDS 65536
/* libudev's name for messages that udev has worked on; 0: it believes that udev is not running. */
#define UDEV_GROUP_MASK 2

pthread_mutex_t shim_lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *_Atomic opened[MAX_FDS];

static struct {
  int (*open)(const char *, int, ...);
  int (*openat)(int, const char *, int, ...);
  int (*ioctl)(int, unsigned long, ...);
  ssize_t (*read)(int, void *, size_t);
  ssize_t (*write)(int, const void *, size_t);
  int (*bind)(int, const struct sockaddr *, socklen_t);
} libc;

static void find_libc(void) {
  /* POSIX's way to turn what dlsym returns into a function pointer. */
  *(void **)&libc.open = dlsym(RTLD_NEXT, "open64");
  *(void **)&libc.openat = dlsym(RTLD_NEXT, "openat64");
  *(void **)&libc.ioctl = dlsym(RTLD_NEXT, "ioctl");
  *(void **)&libc.read = dlsym(RTLD_NEXT, "read");
  *(void **)&libc.write = dlsym(RTLD_NEXT, "write");
  *(void **)&libc.bind = dlsym(RTLD_NEXT, "bind");
}

/* Other libraries' constructors may come first. */
static pthread_once_t found = PTHREAD_ONCE_INIT;
#define LIBC(function) (pthread_once(&found, find_libc), libc.function)

/* For a file of ours while the lock is held, where write() would wait for it. */
ssize_t libc_write(int fd, const void *buffer, size_t length) {
  return LIBC(write)(fd, buffer, length);
}

void trace(const char *format, ...) {
  if (getenv("KESSAI_USB_TRACE") == NULL) return;
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  fprintf(stderr, "usb-shim: %s\n", line);
}

/* The emulated device node at `path`. Returns 0, ENOENT where it is none of ours, or the errno of its open. */
static int read_node(const char *path, struct node *node) {
  const char *folder = getenv("KESSAI_USB_DEV");
  if (path == NULL || folder == NULL) return ENOENT;
  bool is_hid = strncmp(path, "/dev/hidraw", 11) == 0;
  if (!is_hid && strncmp(path, "/dev/bus/usb/", 13) != 0) return ENOENT;
  char name[1024];
  if (snprintf(name, sizeof name, "%s/%s", folder, path + strlen("/dev/")) >= (int)sizeof name) return ENOENT;
  FILE *file = fopen(name, "re");
  if (file == NULL) return ENOENT;
  struct stat state;
  memset(node, 0, sizeof *node);
  node->is_hid = is_hid;
  int fields = fscanf(file, "%hu %31s %x %u %u %u %u", &node->port, node->bus_id, &node->held_by_kernel, &node->interface,
                      &node->in_endpoint, &node->out_endpoint, &node->input_bytes);
  /* This process is root, whom permissions do not stop; whom they would stop is the user of a real device. */
  bool denied = fstat(fileno(file), &state) != 0 || (state.st_mode & S_IWUSR) == 0;
  fclose(file);
  if (denied) return EACCES;
  return fields == (is_hid ? 7 : 3) ? 0 : EIO;
}

static int open_node(const struct node *node) {
  struct file *file = calloc(1, sizeof *file);
  if (file == NULL || !(node->is_hid ? hidraw_open : usbfs_open)(file)) {
    free(file);
    return -1;
  }
  int fd = file->fd;
  struct stat state;
  fstat(fd, &state);
  file->node = *node;
  file->inode = state.st_ino;
  file->inode_device = state.st_dev;
  file->last_finished = &file->finished;
  pthread_mutex_lock(&shim_lock);
  if (fd < MAX_FDS && device_open(file)) atomic_store(&opened[fd], file);
  else {
    close(file->our_end);
    close(fd);
    free(file);
    fd = -1;
  }
  pthread_mutex_unlock(&shim_lock);
  trace("open %s %s: %d", node->is_hid ? "hid" : "usb", node->bus_id, fd);
  if (fd < 0) errno = ENODEV;
  return fd;
}

/* With the lock held. */
void forget_file(struct file *file) {
  if (atomic_load(&opened[file->fd]) == file) atomic_store(&opened[file->fd], NULL);
}

/* Returns with the lock held, or NULL without it. The number may belong to another file by now. */
static struct file *lock_file(int fd) {
  if (fd < 0 || fd >= MAX_FDS || atomic_load_explicit(&opened[fd], memory_order_relaxed) == NULL) return NULL;
  pthread_mutex_lock(&shim_lock);
  struct file *file = atomic_load(&opened[fd]);
  struct stat state;
  if (file != NULL && fstat(fd, &state) == 0 && state.st_ino == file->inode && state.st_dev == file->inode_device) return file;
  pthread_mutex_unlock(&shim_lock);
  return NULL;
}

static bool takes_mode(int flags) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

#define OPEN_EMULATED_OR(real)                                                                                                             \
  mode_t mode = 0;                                                                                                                         \
  if (takes_mode(flags)) {                                                                                                                 \
    va_list arguments;                                                                                                                     \
    va_start(arguments, flags);                                                                                                            \
    mode = va_arg(arguments, mode_t);                                                                                                      \
    va_end(arguments);                                                                                                                     \
  }                                                                                                                                        \
  struct node node;                                                                                                                        \
  int failure = read_node(path, &node);                                                                                                    \
  if (failure == ENOENT) return real;                                                                                                      \
  if (failure == 0) return open_node(&node);                                                                                               \
  errno = failure;                                                                                                                         \
  return -1;

int open(const char *path, int flags, ...) {
  OPEN_EMULATED_OR(LIBC(open)(path, flags, mode))
}

int open64(const char *path, int flags, ...) {
  OPEN_EMULATED_OR(LIBC(open)(path, flags, mode))
}

int openat(int folder, const char *path, int flags, ...) {
  OPEN_EMULATED_OR(LIBC(openat)(folder, path, flags, mode))
}

int openat64(int folder, const char *path, int flags, ...) {
  OPEN_EMULATED_OR(LIBC(openat)(folder, path, flags, mode))
}

int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  struct file *file = lock_file(fd);
  if (file == NULL) return LIBC(ioctl)(fd, request, argument);
  int result = (file->node.is_hid ? hidraw_ioctl : usbfs_ioctl)(file, (unsigned)request, argument);
  int reason = errno;
  pthread_mutex_unlock(&shim_lock);
  errno = reason;
  return result;
}

ssize_t read(int fd, void *buffer, size_t length) {
  ssize_t count = LIBC(read)(fd, buffer, length);
  if (count != 0 || length == 0) return count;
  struct file *file = lock_file(fd);
  if (file == NULL) return 0;
  pthread_mutex_unlock(&shim_lock);
  errno = EIO; /* hidraw.c of Linux: the device is gone */
  return -1;
}

ssize_t write(int fd, const void *buffer, size_t length) {
  struct file *file = lock_file(fd);
  if (file == NULL) return LIBC(write)(fd, buffer, length);
  ssize_t count = -1;
  if (file->node.is_hid) count = hidraw_write(file, buffer, length);
  else errno = EINVAL;
  int reason = errno;
  pthread_mutex_unlock(&shim_lock);
  errno = reason;
  return count;
}

/* libudev joins udev's group to hear of devices: here it joins the one where only emulated devices are announced. */
int bind(int fd, const struct sockaddr *address, socklen_t length) {
  const char *group = getenv("KESSAI_USB_UEVENT_GROUP");
  struct sockaddr_nl netlink;
  int protocol = -1;
  socklen_t size = sizeof protocol;
  if (group == NULL || address == NULL || length != sizeof netlink || address->sa_family != AF_NETLINK ||
      getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 || protocol != NETLINK_KOBJECT_UEVENT)
    return LIBC(bind)(fd, address, length);
  memcpy(&netlink, address, sizeof netlink);
  if ((netlink.nl_groups & ~(unsigned)UDEV_GROUP_MASK) == 0) netlink.nl_groups = 1u << (atoi(group) - 1);
  trace("listening to group %s", group);
  return LIBC(bind)(fd, (const struct sockaddr *)&netlink, sizeof netlink);
}
