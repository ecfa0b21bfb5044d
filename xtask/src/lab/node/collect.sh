# What a node knows of itself, as a tar archive on standard output. What is missing is missing: an empty file says so.
folder=$(mktemp -d)
chmod 755 "$folder"
cd "$folder"
mkdir state-end
{
    uname -a >uname.txt
    kubelet --version >version.txt
    cp /etc/kubernetes/kubelet.yaml kubelet.yaml
    journalctl -b -u kubelet -o cat --no-pager >kubelet.log
    journalctl -b -u kubelet -o short-iso --no-pager >kubelet.journal-iso.log
    journalctl -b -u kubelet -o json --no-pager >kubelet.journal.json
    journalctl -b -u containerd -o short-iso --no-pager >containerd.log
    journalctl -b -k -o short-iso --no-pager >kernel.journal.log
    journalctl -b -o short-iso --no-pager >journal-all.log
    dmesg -T >dmesg-T.txt
    dmesg >dmesg.txt
    # Reading ends where there is no further message yet.
    dd if=/dev/kmsg of=kmsg.raw iflag=nonblock bs=8192
    curl -s --max-time 60 http://127.0.0.1:10255/metrics >metrics.txt
    grep -E '^kubelet_evictions|^kubelet_eviction|oom' metrics.txt >metrics-evict.txt
    find /var/log/pods | sort >var-log-pods.txt
    cp -r /var/log/pods state-end/var-log-pods
    rm -rf state-end/var-log-pods/oomtrace_oomtrace-*
    curl -s --max-time 60 http://127.0.0.1:10255/pods >state-end/kubelet-pods-10255.json
    # oomtrace serves its figures in its pod, or on the node where it is a process.
    address=$(jq -r '.items[] | select(.metadata.namespace == "oomtrace") | .status.podIP' state-end/kubelet-pods-10255.json)
    curl -s --max-time 60 "http://${address:-127.0.0.1}:9477/metrics" >oomtrace-metrics.txt
    curl -sk --max-time 60 "https://127.0.0.1:$kubelet_port/pods" >state-end/kubelet-pods-10250.json
    curl -sk --max-time 60 "https://127.0.0.1:$kubelet_port/configz" >state-end/configz.json
    curl -s --max-time 60 http://127.0.0.1:10255/stats/summary >state-end/stats-summary.json
    ctr -n k8s.io containers list >state-end/ctr-containers.txt
    ctr -n k8s.io tasks list >state-end/ctr-tasks.txt
    ps -eo pid,ppid,comm,rss,oomadj,cgroup,args -ww >state-end/procs.txt
    free -k >state-end/free.txt
    cat /proc/meminfo >state-end/meminfo.txt
    # One process for them all: to start one takes long in an emulated machine.
    find /sys/fs/cgroup/kubepods.slice -type d | sort | awk '
        function text(file, line, all) {
            all = ""
            while ((getline line <(cgroup "/memory." file)) > 0) all = all line (file ~ /events/ ? " " : "")
            close(cgroup "/memory." file)
            return all
        }
        {
            cgroup = $0
            name = substr(cgroup, length("/sys/fs/cgroup") + 1)
            printf "%s memory.max=%s current=%s low=%s high=%s oom.group=%s events=[%s] events.local=[%s]\n", name,
                text("max"), text("current"), text("low"), text("high"), text("oom.group"), text("events"), text("events.local")
        }' >state-end/cgroups.txt
} 2>/dev/null
tar -czf - .
rm -rf "$folder"
