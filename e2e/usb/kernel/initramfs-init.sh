#!/bin/busybox sh
# First process of the guest: the host's file system by 9p, read only, under a layer of memory that takes what is written.
# The kernel hands its unknown parameters on as variables: $KESSAI_INIT is the program to go on with.
B=/bin/busybox
$B mkdir -p /dev /proc /sys /host /memory /root
$B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/modules/$module" || echo "no $module"; done < /modules/order
$B mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro host /host || exit 1
$B mount -t tmpfs memory /memory
$B mkdir /memory/upper /memory/work
$B mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root || exit 1
$B mount --move /dev /root/dev
exec $B switch_root /root /bin/bash "$KESSAI_INIT"
