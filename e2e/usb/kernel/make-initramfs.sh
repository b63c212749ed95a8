#!/bin/sh
# make-initramfs.sh FILE KERNEL_FOLDER RELEASE MODULE...: packs the guest's first program, busybox, and those modules with what they depend on.
set -e
file=$1 kernel=$2 release=$3
shift 3
tree=$file.d
rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/modules"
cp "$(command -v busybox)" "$tree/bin/busybox"
cp "$(dirname "$0")/initramfs-init.sh" "$tree/init"
chmod 755 "$tree/init"
modprobe --dirname "$kernel" --set-version "$release" --show-depends --all "$@" | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > "$tree/list"
while read -r module; do
  cp "$module" "$tree/modules/"
  basename "$module" >> "$tree/modules/order"
done < "$tree/list"
rm "$tree/list"
(cd "$tree" && find . | busybox cpio -o -H newc 2> /dev/null) | gzip -1 > "$file"
rm -rf "$tree"
