/*
 * /dev/hidrawN: Linux's hidraw over usbhid (drivers/hid/hidraw.c, drivers/hid/usbhid/hid-core.c) as far as Chromium asks, on an
 * emulated device.
 */
#define _GNU_SOURCE
#include "usb-shim.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* HID 1.11, 7.2. */
#define GET_REPORT 1
#define SET_REPORT 9
#define OUTPUT_REPORT 2
#define FEATURE_REPORT 3
#define TO_INTERFACE 0x21
#define FROM_INTERFACE 0xA1

#define HIDIOCSFEATURE_NR 6
#define HIDIOCGFEATURE_NR 7

/* Each message in the pair of sockets is one input report. */
bool hidraw_open(struct file *file) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return false;
  file->our_end = ends[0];
  file->fd = ends[1];
  return true;
}

/* What was sent before can still be read, then EOF, which read() turns into EIO. */
void hidraw_hang_up(struct file *file) {
  shutdown(file->our_end, SHUT_WR);
}

static const struct file *reading_file(const struct device *device) {
  const struct file *file = device->files;
  while (file != NULL && !file->node.is_hid) file = file->next;
  return file;
}

static void input_unhalted(struct device *device, struct transfer *transfer) {
  device->input = NULL;
  transfer_drop(device, transfer);
  hidraw_files_changed(device);
}

static void input_completed(struct device *device, struct transfer *transfer) {
  int status = transfer->status;
  device->input = NULL;
  for (struct file *file = device->files; file != NULL && status == 0 && transfer->actual > 0; file = file->next) {
    /* A file that nobody reads loses reports, as hidraw's buffer does. */
    if (file->node.is_hid) send(file->our_end, transfer->data, transfer->actual, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  transfer_drop(device, transfer);
  if (status == 0) hidraw_files_changed(device);
  if (status != -EPIPE) return;
  /* CLEAR_FEATURE(ENDPOINT_HALT), USB 2.0, 9.4.1 */
  const struct request clearing = control_request(0x02, 1, 0, device->input_endpoint | 0x80, NULL, 0);
  device->input = device_submit(device, &clearing, input_unhalted);
}

/* Keeps one interrupt IN transfer waiting while the device has an open hidraw file. */
void hidraw_files_changed(struct device *device) {
  const struct file *file = reading_file(device);
  if (file != NULL && device->input == NULL) {
    device->input_endpoint = file->node.in_endpoint;
    const struct request reading = {.endpoint = device->input_endpoint, .in = true, .length = file->node.input_bytes};
    device->input = device_submit(device, &reading, input_completed);
  } else if (file == NULL && device->input != NULL) {
    device->input->complete = transfer_drop;
    device_unlink(device, device->input);
    device->input = NULL;
  }
}

/* A leading 0 says that the device counts no reports: it is not sent. */
static int set_report(struct file *file, unsigned kind, uint8_t *report, size_t length) {
  size_t skipped = report[0] == 0 ? 1 : 0;
  const struct request request =
      control_request(TO_INTERFACE, SET_REPORT, kind << 8 | report[0], file->node.interface, report + skipped, (unsigned)(length - skipped));
  return device_transfer(file->device, &request, NULL);
}

static int get_report(struct file *file, unsigned kind, uint8_t *report, size_t length) {
  size_t skipped = report[0] == 0 ? 1 : 0;
  const struct request request =
      control_request(FROM_INTERFACE, GET_REPORT, kind << 8 | report[0], file->node.interface, NULL, (unsigned)(length - skipped));
  int count = device_transfer(file->device, &request, report + skipped);
  return count < 0 ? count : count + (int)skipped;
}

int hidraw_ioctl(struct file *file, unsigned request, void *argument) {
  size_t length = _IOC_SIZE(request);
  int result = -ENOTTY;
  trace("hid %s ioctl %u (%zu)", file->node.bus_id, _IOC_NR(request), length);
  if (file->device->gone) result = -ENODEV;
  else if (_IOC_TYPE(request) == 'H' && _IOC_NR(request) == HIDIOCSFEATURE_NR && length > 0) {
    result = set_report(file, FEATURE_REPORT, argument, length);
    if (result >= 0) result = (int)length;
  } else if (_IOC_TYPE(request) == 'H' && _IOC_NR(request) == HIDIOCGFEATURE_NR && length > 0)
    result = get_report(file, FEATURE_REPORT, argument, length);
  if (result >= 0) return result;
  errno = -result;
  return -1;
}

ssize_t hidraw_write(struct file *file, const uint8_t *report, size_t length) {
  int result = -EINVAL;
  if (file->device->gone) result = -ENODEV;
  else if (length > 1 && length <= MAX_TRANSFER_BYTES) {
    size_t skipped = report[0] == 0 ? 1 : 0;
    const struct request request = {.endpoint = file->node.out_endpoint, .out = report + skipped, .length = (uint32_t)(length - skipped)};
    if (request.endpoint != 0) result = device_transfer(file->device, &request, NULL);
    else result = set_report(file, OUTPUT_REPORT, (uint8_t *)report, length);
  }
  if (result >= 0) return (ssize_t)length;
  errno = -result;
  return -1;
}
