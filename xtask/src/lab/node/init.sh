#!/bin/busybox sh
# The node's first process until its disk is there: loads what the disk, the network and containers need, brings this run's
# files onto the disk, and hands over to systemd.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
    insmod "$module" || echo "init: cannot load $module"
done
mount -t ext4 /dev/vda /root || { echo "init: no disk"; poweroff -f; }
cp -a /files/. /root/
wants=/root/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants"
for unit in containerd kubelet lab-agent lab-images lab-network lab-proxy; do
    [ -e "/root/etc/systemd/system/$unit.service" ] && from=/etc || from=/usr/lib
    ln -sf "$from/systemd/system/$unit.service" "$wants/$unit.service"
done
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root /usr/lib/systemd/systemd
