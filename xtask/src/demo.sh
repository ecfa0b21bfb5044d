#!/bin/sh
# The demonstration inside the guest: oomtrace runs, two pod-shaped cgroups exceed their limits, one as the kubelet's
# cgroupfs driver spells it, one as its systemd driver does. $1 is the output format.
set -eu

uid=c8119223-23d2-4099-bf62-d501a2753c91
id=109b8c09d2ea5e615b46acb0c782163570a8d00be849071b930fc8bf900ceb35

# Makes a container's cgroup below the root of the memory controller's hierarchy, with a limit of 20 MiB.
make_container() {
    folder=/sys/fs/cgroup
    [ -d "$folder/memory" ] && folder=$folder/memory
    for name in $(echo "$1" | tr / ' '); do
        [ ! -e "$folder/cgroup.subtree_control" ] || echo +memory > "$folder/cgroup.subtree_control"
        folder=$folder/$name
        mkdir -p "$folder"
    done
    if [ -e "$folder/memory.max" ]; then limit=memory.max; else limit=memory.limit_in_bytes; fi
    echo 20M > "$folder/$limit"
    echo "-- $1 may use 20 MiB; tail /dev/zero wants all there is" >&2
    sh -c "echo \$\$ > '$folder/cgroup.procs'; exec unshare -p -f tail /dev/zero" || true
}

oomtrace run --format "$1" --count 2 > /tmp/events &
tail -f /tmp/events &
# The first line says that the probes are attached.
while [ ! -s /tmp/events ]; do sleep 0.2; done

make_container "kubepods/burstable/pod$uid/$id"
make_container "kubepods.slice/kubepods-pod$(echo "$uid" | tr - _).slice/cri-containerd-$id.scope"
wait %1
sleep 1
kill %2
