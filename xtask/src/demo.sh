#!/bin/sh
# The demonstration inside the guest: oomtrace runs, and two pods exceed their limits. The cgroups are named as the kubelet's
# systemd driver and containerd name them, the folders of logs as the kubelet makes them, which is where the names come from.
# $1 is the output format, $2 whether it is in colour, $3 how wide the screen is, $4 the locale.
set -eu
export COLUMNS="$3"
export LC_ALL="$4"

# The root of the memory controller's hierarchy.
root=/sys/fs/cgroup
[ ! -d "$root/memory" ] || root=$root/memory

# Makes a container's cgroup with a limit of 20 MiB, and the kubelet's logs of it: namespace, pod, uid, container, id.
make_container() {
    folder=$root
    for name in kubepods.slice "kubepods-pod$(echo "$3" | tr - _).slice" "cri-containerd-$5.scope"; do
        [ ! -e "$folder/cgroup.subtree_control" ] || echo +memory > "$folder/cgroup.subtree_control"
        folder=$folder/$name
        mkdir -p "$folder"
    done
    if [ -e "$folder/memory.max" ]; then limit=memory.max; else limit=memory.limit_in_bytes; fi
    echo 20M > "$folder/$limit"
    logs=/var/log/pods/$1_$2_$3/$4
    mkdir -p "$logs" /var/log/containers
    ln -s "$logs/0.log" "/var/log/containers/$2_$1_$4-$5.log"
}

# Runs a command as a container's first process, in the cgroup that was made last.
run() {
    sh -c "echo \$\$ > '$folder/cgroup.procs'; exec unshare -p -f \"\$@\"" sh "$@" > /dev/null 2>&1 || true
}

oomtrace run --format "$1" --color "$2" --node-name demo > /tmp/events &
tracer=$!
tail -f /tmp/events &
printer=$!
# The first line says that the probes are attached.
while [ ! -s /tmp/events ]; do sleep 0.2; done

echo "-- pod shop/cart may use 20 MiB; its first process wants all there is" >&2
make_container shop cart c8119223-23d2-4099-bf62-d501a2753c91 app \
    109b8c09d2ea5e615b46acb0c782163570a8d00be849071b930fc8bf900ceb35
run tail /dev/zero

echo "-- pod shop/search may use 20 MiB; a child of its first process wants all there is" >&2
make_container shop search 5d0e6f3a-7f0b-4c55-9a5e-0f6b2a4d1c77 worker \
    7be0c1a35d0f4ad4c2f9e8b6a1d3f5e7c9b8a7d6e5f4c3b2a1908f7e6d5c4b3a
run sh -c 'tail /dev/zero; sleep 2'
kill -TERM "$tracer"
wait "$tracer"
sleep 1
kill "$printer"
