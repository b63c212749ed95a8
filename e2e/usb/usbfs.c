/* /dev/bus/usb/BBB/DDD: Linux's usbfs (drivers/usb/core/devio.c) as far as Chromium asks, on an emulated device. */
#define _GNU_SOURCE
#include "usb-shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SETUP_BYTES 8

/*
 * Chromium waits until the file can be written: then there is a URB to reap. The browser's end is therefore the writing end of a pipe
 * with room for one page, which is full, with one byte in it, while there is nothing to reap.
 */
bool usbfs_open(struct file *file) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
  file->our_end = ends[0];
  file->fd = ends[1];
  fcntl(file->fd, F_SETPIPE_SZ, 1);
  file->quiet = libc_write(file->fd, "", 1) == 1;
  return true;
}

void usbfs_signal(struct file *file) {
  char byte;
  if (file->quiet) file->quiet = read(file->our_end, &byte, 1) != 1;
}

static int fail(int reason) {
  errno = reason;
  return -1;
}

static int answer(int result) {
  return result < 0 ? fail(-result) : 0;
}

static void urb_completed(struct device *device, struct transfer *transfer) {
  (void)device;
  struct file *file = transfer->file;
  transfer->next = NULL;
  *file->last_finished = transfer;
  file->last_finished = &transfer->next;
  usbfs_signal(file);
}

static int submit(struct file *file, struct usbdevfs_urb *urb) {
  if (urb->buffer_length < 0 || urb->buffer_length > MAX_TRANSFER_BYTES) return fail(EINVAL);
  uint8_t *buffer = urb->buffer;
  struct request request = {.flags = urb->flags & USBDEVFS_URB_ZERO_PACKET, .out = buffer, .length = (uint32_t)urb->buffer_length};
  switch (urb->type) {
    case USBDEVFS_URB_TYPE_CONTROL:
      if (request.length < SETUP_BYTES) return fail(EINVAL);
      request.in = (buffer[0] & 0x80) != 0;
      memcpy(request.setup, buffer, SETUP_BYTES);
      request.out = buffer + SETUP_BYTES;
      request.length -= SETUP_BYTES;
      break;
    case USBDEVFS_URB_TYPE_BULK:
    case USBDEVFS_URB_TYPE_INTERRUPT:
      request.endpoint = urb->endpoint & 15;
      request.in = (urb->endpoint & 0x80) != 0;
      break;
    default:
      return fail(EINVAL); /* no card reader has isochronous endpoints */
  }
  struct transfer *transfer = device_submit(file->device, &request, urb_completed);
  if (transfer == NULL) return fail(ENODEV);
  transfer->file = file;
  transfer->urb = urb;
  return 0;
}

static int discard(struct file *file, const struct usbdevfs_urb *urb) {
  for (struct transfer *transfer = file->device->pending; transfer != NULL; transfer = transfer->next) {
    if (transfer->file != file || transfer->urb != urb) continue;
    device_unlink(file->device, transfer);
    return 0;
  }
  return fail(EINVAL);
}

static int reap(struct file *file, struct usbdevfs_urb **reaped) {
  struct transfer *transfer = file->finished;
  if (transfer == NULL) {
    if (file->device->gone) return fail(ENODEV);
    if (!file->quiet) file->quiet = libc_write(file->fd, "", 1) == 1;
    return fail(EAGAIN);
  }
  file->finished = transfer->next;
  if (file->finished == NULL) file->last_finished = &file->finished;
  struct usbdevfs_urb *urb = transfer->urb;
  urb->status = transfer->status;
  urb->actual_length = (int)transfer->actual;
  uint8_t *to = (uint8_t *)urb->buffer + (urb->type == USBDEVFS_URB_TYPE_CONTROL ? SETUP_BYTES : 0);
  if (transfer->in && transfer->actual > 0) memcpy(to, transfer->data, transfer->actual);
  free(transfer->data);
  free(transfer);
  *reaped = urb;
  return 0;
}

static int claim(struct file *file, unsigned interface) {
  if (interface >= MAX_INTERFACES) return fail(ENOENT);
  struct file **holder = &file->device->holder[interface];
  bool held_by_kernel = (file->node.held_by_kernel >> interface & 1) != 0;
  if (held_by_kernel || (*holder != NULL && *holder != file)) return fail(EBUSY);
  *holder = file;
  return 0;
}

static int release(struct file *file, unsigned interface) {
  if (interface >= MAX_INTERFACES || file->device->holder[interface] != file) return fail(EINVAL);
  file->device->holder[interface] = NULL;
  return 0;
}

static int get_driver(struct file *file, struct usbdevfs_getdriver *driver) {
  if (driver->interface >= MAX_INTERFACES || (file->node.held_by_kernel >> driver->interface & 1) == 0) return fail(ENODATA);
  strcpy(driver->driver, "kessai-held");
  return 0;
}

/* A standard request without data (USB 2.0, 9.4). */
static int standard(struct file *file, unsigned type, unsigned code, unsigned value, unsigned index) {
  const struct request request = control_request(type, code, value, index, NULL, 0);
  return answer(device_transfer(file->device, &request, NULL));
}

int usbfs_ioctl(struct file *file, unsigned request, void *argument) {
  struct usbdevfs_setinterface *alternate = argument;
  unsigned *number = argument;
  if (request == (unsigned)USBDEVFS_REAPURBNDELAY) return reap(file, argument);
  trace("usb %s ioctl %u", file->node.bus_id, _IOC_NR(request));
  if (file->device->gone) return fail(ENODEV);
  switch (request) {
    case (unsigned)USBDEVFS_SUBMITURB:
      return submit(file, argument);
    case (unsigned)USBDEVFS_DISCARDURB:
      return discard(file, argument);
    case (unsigned)USBDEVFS_CLAIMINTERFACE:
      return claim(file, *number);
    case (unsigned)USBDEVFS_RELEASEINTERFACE:
      return release(file, *number);
    case (unsigned)USBDEVFS_GETDRIVER:
      return get_driver(file, argument);
    case (unsigned)USBDEVFS_SETCONFIGURATION:
      return standard(file, 0x00, 9, *number, 0);
    case (unsigned)USBDEVFS_SETINTERFACE:
      return standard(file, 0x01, 11, alternate->altsetting, alternate->interface);
    case (unsigned)USBDEVFS_CLEAR_HALT:
      return standard(file, 0x02, 1, 0, *number);
    case (unsigned)USBDEVFS_RESET:
      return answer(device_reset(file->device));
    case (unsigned)USBDEVFS_GET_CAPABILITIES:
      *number = USBDEVFS_CAP_ZERO_PACKET | USBDEVFS_CAP_BULK_CONTINUATION | USBDEVFS_CAP_NO_PACKET_SIZE_LIM;
      return 0;
    default:
      return fail(ENOTTY);
  }
}
