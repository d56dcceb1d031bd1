#!/bin/sh
# The guest's first process: mounts, runs the command, hands its result to the host, powers off.
# If it ends in between, the kernel panics, and the host shows the console.

/bin/busybox --install -s /bin 2>/dev/null
. /ipt-trace/environment

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
ip link set lo up

# Prints the device of a virtio port, which gets its name a moment after the driver is loaded.
port() {
    for try in $(seq 100); do
        for port in /sys/class/virtio-ports/*; do
            if [ "$(cat "$port/name" 2>/dev/null)" = "$1" ]; then
                echo "/dev/${port##*/}"
                return
            fi
        done
        usleep 20000
    done
    echo "the guest has no virtio port $1" >/dev/console
    return 1
}

modprobe virtio_pci 2>/dev/null
modprobe virtio_console 2>/dev/null
output=$(port output) && files=$(port files) && result=$(port result) || exit 1

mkdir -p /out
cd /root || exit 1
sh /ipt-trace/command >"$output" 2>&1
code=$?

tar -cf "$files" -C /out .
# The result comes last: where there is one, everything before it was brought out.
echo "$code" >"$result"
poweroff -f
