#!/bin/bash
# The guest's system: the kernel's file systems, udev, the network to the host; then it runs what it is told, line by line, on the second serial port.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /dev/shm /dev/pts /lib/modules
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
mount --bind "$KESSAI_MODULES" /lib/modules
busybox ip link set lo up
modprobe virtio_net
busybox ip link set eth0 up
busybox ip address add 10.0.2.15/24 dev eth0
busybox ip route add default via 10.0.2.2
/lib/systemd/systemd-udevd --daemon
modprobe --all vhci-hcd usbhid hid-generic
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
stty raw -echo
echo '<ready>'
while IFS= read -r line; do
  eval "$line"
  echo "<end $?>"
done
echo o > /proc/sysrq-trigger
