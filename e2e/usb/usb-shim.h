/* What the parts of the USB shim share: the open files of emulated devices, their devices, and the transfers under way. */
#ifndef KESSAI_USB_SHIM_H
#define KESSAI_USB_SHIM_H

#include <linux/usbdevice_fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BUS_ID_BYTES 32
#define MAX_INTERFACES 32
#define MAX_TRANSFER_BYTES (1 << 20)

/* A device node, as its file below KESSAI_USB_DEV describes it. */
struct node {
  uint16_t port;
  char bus_id[BUS_ID_BYTES];
  uint32_t held_by_kernel; /* interfaces, one bit each, that a kernel driver is bound to */
  bool is_hid;
  unsigned interface, in_endpoint, out_endpoint, input_bytes; /* of a HID device; out_endpoint 0: reports go out by SET_REPORT */
};

struct device;
struct file;
struct transfer;

/* Called with the lock held, by the device's thread; the transfer is no longer pending and belongs to the callee. */
typedef void completion(struct device *device, struct transfer *transfer);

struct transfer {
  struct transfer *next;
  uint32_t sequence;
  uint32_t unlink_sequence; /* 0: nobody has asked to take it back */
  bool in;
  uint32_t length; /* asked for */
  int status;      /* as in a URB: 0 or a negative errno */
  uint32_t actual;
  uint8_t *data; /* of an IN transfer: `actual` bytes */
  completion *complete;
  struct file *file;        /* for a URB */
  struct usbdevfs_urb *urb; /* for a URB; touched only inside the ioctls of its owner */
  bool done;                /* for a transfer that somebody waits for */
};

/* What a transfer asks of the device. */
struct request {
  unsigned endpoint; /* without its direction bit */
  bool in;
  uint32_t flags;   /* of a URB */
  uint8_t setup[8]; /* of a control transfer */
  const void *out;
  uint32_t length;
};

/* One connection to the USB/IP server; shared by all open files of the device, because USB/IP exports it only once. */
struct device {
  struct device *next;
  uint16_t port;
  char bus_id[BUS_ID_BYTES];
  int socket;
  int epoll;
  uint32_t device_id;
  uint32_t last_sequence;
  bool gone;
  bool resetting;
  struct transfer *pending;
  struct file *files;
  struct file *holder[MAX_INTERFACES];
  struct transfer *input; /* of a HID device with open files: its waiting interrupt IN transfer */
  unsigned input_endpoint;
};

struct file {
  struct file *next;
  struct device *device;
  struct node node;
  int fd;      /* the browser's end */
  int our_end; /* hangs up when the browser's end is closed: Chromium closes files by system call, past this library */
  ino_t inode; /* tells whether `fd` is still this file */
  dev_t inode_device;
  struct transfer *finished, **last_finished; /* of usbfs: URBs to be reaped */
  bool quiet;                                 /* of usbfs: the pipe is full, so that nothing looks ready to be reaped */
};

/* One lock for everything: these are a handful of readers. */
extern pthread_mutex_t shim_lock;

/* usb-device.c; all with the lock held. Numbers are counts of bytes, or negative errnos. */
bool device_open(struct file *file);
struct transfer *device_submit(struct device *device, const struct request *request, completion *complete);
void device_unlink(struct device *device, struct transfer *transfer);
int device_transfer(struct device *device, const struct request *request, void *in);
int device_reset(struct device *device);
void transfer_drop(struct device *device, struct transfer *transfer);
struct request control_request(unsigned type, unsigned code, unsigned value, unsigned index, void *data, unsigned length);

/* usbfs.c and hidraw.c; all with the lock held. They return what the system call does, with errno. */
bool usbfs_open(struct file *file);
int usbfs_ioctl(struct file *file, unsigned request, void *argument);
void usbfs_signal(struct file *file);
bool hidraw_open(struct file *file);
void hidraw_files_changed(struct device *device);
int hidraw_ioctl(struct file *file, unsigned request, void *argument);
ssize_t hidraw_write(struct file *file, const uint8_t *report, size_t length);
void hidraw_hang_up(struct file *file);

/* usb-shim.c */
ssize_t libc_write(int fd, const void *buffer, size_t length);
void forget_file(struct file *file);
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
