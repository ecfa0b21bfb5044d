#!/bin/busybox sh
# The guest's first process: makes of a bare kernel what a node has, runs one command, tells how it went, powers off.
#
# Serial ports: ttyS0 the kernel's console and this script's own complaints, ttyS1 the command's standard output,
# ttyS2 its standard error, ttyS3 reports to the host, a line each: "ready RELEASE", "exit STATUS", "error REASON".

# Settings of this run: OOMTRACE_VM_CGROUP, OOMTRACE_VM_OUT, and the command's environment.
. /vm/settings
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-dumb}"

fail() {
    echo "init: $1"
    echo "error $1" >/dev/ttyS3
    poweroff -f
}

mount_at() { # TYPE FOLDER [OPTIONS]
    mkdir -p "$2" && mount -t "$1" -o "${3:-rw}" "$1" "$2" || fail "cannot mount $1 at $2"
}

wait_for() { # DAEMON COMMAND..., the daemon's log being /run/DAEMON.log
    daemon=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { cat "/run/$daemon.log"; fail "$daemon does not answer"; }
        sleep 0.2
    done
}

set_up() {
    # It says "File exists" of what the host put on the PATH; that is meant to win.
    /bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /etc /proc /sys /dev /tmp /run /root /share /out /var
    /bin/busybox --install -s /bin 2>/dev/null

    mount_at proc /proc
    mount_at sysfs /sys
    mount_at devtmpfs /dev
    # Bytes pass the serial ports as they are: no newline is rewritten, nothing is echoed.
    for port in 1 2 3; do stty -F /dev/ttyS$port raw -echo || fail "no serial port ttyS$port"; done
    ln -s /proc/self/fd /dev/fd
    ln -s fd/0 /dev/stdin
    ln -s fd/1 /dev/stdout
    ln -s fd/2 /dev/stderr
    mount_at devpts /dev/pts
    mount_at tmpfs /dev/shm
    mount_at tmpfs /tmp
    mount_at tmpfs /run
    mount_at tracefs /sys/kernel/tracing
    mount_at debugfs /sys/kernel/debug
    mount_at securityfs /sys/kernel/security
    mount_at bpf /sys/fs/bpf mode=700

    case "$OOMTRACE_VM_CGROUP" in
    v2)
        mount_at cgroup2 /sys/fs/cgroup
        for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || fail "cgroup v2 refuses $controller"
        done
        ;;
    v1)
        mount_at tmpfs /sys/fs/cgroup mode=755
        mount_at cgroup /sys/fs/cgroup/systemd none,name=systemd
        for controller in $(awk '$4 == 1 { print $1 }' /proc/cgroups); do
            mount_at cgroup "/sys/fs/cgroup/$controller" "$controller"
        done
        # As systemd sets it, so that a limit counts what is below it. Before 5.11 it is off by default.
        echo 1 >/sys/fs/cgroup/memory/memory.use_hierarchy
        ;;
    esac

    for module in /vm/modules/*.ko*; do
        [ ! -e "$module" ] || insmod "$module" || fail "cannot load $module"
    done
    [ -z "$OOMTRACE_VM_OUT" ] || [ -b "$OOMTRACE_VM_OUT" ] || fail "the disk for /out is not there: $OOMTRACE_VM_OUT"

    ip link set lo up
    hostname oomtrace-vm
    echo "127.0.0.1 localhost oomtrace-vm" >/etc/hosts
    echo "root:x:0:0:root:/root:/bin/sh" >/etc/passwd
    echo "root:x:0:" >/etc/group
    # What systemd gives a service.
    ulimit -Hn 524288

    if [ "$OOMTRACE_VM_WITH" = containerd ]; then
        # As systemd does: what is mounted on the node later appears in containers that ask for it (HostToContainer).
        mount --make-rshared / || fail "cannot share mounts"
        # What an image's layers and a container's files are kept on has to support overlays.
        mount_at tmpfs /var/lib/containerd
        : >/etc/resolv.conf
        containerd --log-level warn >/run/containerd.log 2>&1 &
        echo $! >/run/containerd.pid
        wait_for containerd ctr version
    fi
}

if [ $$ = 1 ]; then
    set_up
    # Where there is systemd, it is the first process, and its unit vm.service is this script again.
    [ ! -x /usr/lib/systemd/systemd ] || exec /usr/lib/systemd/systemd --unit=vm.service --show-status=no
fi

if [ "$OOMTRACE_VM_WITH" = podman ]; then
    # As for containerd.
    mount_at tmpfs /var/lib/containers
    mkdir -p /var/tmp
fi

if [ "$OOMTRACE_VM_WITH" = docker ]; then
    mount_at tmpfs /var/lib/docker
    ln -s /run /var/run
    # What it would set up networks with is not here. From a RAM disk there is no pivot_root.
    DOCKER_RAMDISK=true dockerd --bridge=none --iptables=false --ip6tables=false --userland-proxy=false --log-level warn \
        --exec-opt native.cgroupdriver=cgroupfs >/run/docker.log 2>&1 &
    wait_for docker docker version
fi

# A global out-of-memory kill must take neither the output's way to the host nor, with it, the verdict.
echo -1000 >/proc/self/oom_score_adj
mkdir /run/vm
mkfifo /run/vm/stdout /run/vm/stderr
# One after the other: a kernel whose two processors open ports with the same interrupt at the same time may hang in it
# (univ8250_setup_irq, seen once on an emulated 6.12).
exec 7>/dev/ttyS1
exec 8>/dev/ttyS2
exec 9>/dev/ttyS3
# The command writes to pipes, not to terminals: programs behave differently on a terminal.
cat /run/vm/stdout >&7 8>&- 9>&- &
stdout=$!
cat /run/vm/stderr >&8 7>&- 9>&- &
stderr=$!

echo "ready $(uname -r)" >&9
cd /root
(
    echo 0 >/proc/self/oom_score_adj
    # A session of its own, so that a command that signals its process group does not reach us.
    exec setsid sh /vm/command
) </dev/null >/run/vm/stdout 2>/run/vm/stderr 7>&- 8>&- 9>&- &
wait $!
status=$?

# What the command left running must not hold its pipes open, nor change /out while it is saved. Kernel threads have
# no executable.
for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    case $pid in 1 | $$ | "$stdout" | "$stderr") continue ;; esac
    [ ! -e "$process/exe" ] || kill -KILL "$pid" 2>/dev/null
done
# A process that cannot die yet (in a frozen cgroup) holds its pipe open for ever: what has passed by now is all.
(sleep 10; kill $stdout $stderr) 2>/dev/null &
wait $stdout $stderr 2>/dev/null

if [ -n "$OOMTRACE_VM_OUT" ]; then
    tar -cf "$OOMTRACE_VM_OUT" -C /out . && sync || fail "cannot save /out"
fi
echo "exit $status" >&9
poweroff -f
