//! A small node whose two logs say what happened on it, in the words of kernel 6.12 and kubelet 1.36. Times are seconds from
//! 23:20:00 on.

use std::fmt::Write as _;

use super::recast::{Cgroups, Kubelet};

/// A container of a pod.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Names the pod: `default/pod-a`.
    pub(crate) pod: char,
    pub(crate) container: &'static str,
    /// Names the container's id; each start has another.
    pub(crate) id: char,
    pub(crate) qos: &'static str,
}

impl Place {
    pub(crate) fn new(pod: char, container: &'static str, id: char) -> Self {
        Self { pod, container, id, qos: "-burstable" }
    }

    pub(crate) fn name(self) -> String {
        format!("default/pod-{}", self.pod)
    }

    pub(crate) fn uid(self) -> String {
        [8, 4, 4, 4, 12].map(|digits| String::from(self.pod).repeat(digits)).join("-")
    }

    pub(crate) fn id(self) -> String {
        String::from(self.id).repeat(64)
    }

    pub(crate) fn pod_cgroup(self) -> String {
        let qos = if self.qos.is_empty() { String::new() } else { format!("/kubepods{}.slice", self.qos) };
        format!("/kubepods.slice{qos}/kubepods{}-pod{}.slice", self.qos, self.uid().replace('-', "_"))
    }

    pub(crate) fn cgroup(self) -> String {
        format!("{}/cri-containerd-{}.scope", self.pod_cgroup(), self.id())
    }
}

/// Whose limit a kill is for.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    Container,
    Pod,
    Kubepods,
    Node,
}

#[derive(Default)]
pub(crate) struct Story {
    pub(crate) kernel: String,
    pub(crate) kubelet: String,
}

fn time(second: f64) -> String {
    let minutes = (second / 60.0).floor();
    format!("23:{:02}:{:09.6}", minutes + 20.0, second - minutes * 60.0)
}

impl Story {
    pub(crate) fn dmesg(&mut self, second: f64, text: &str) -> &mut Self {
        writeln!(self.kernel, "2026-11-23T{}+00:00 node1 kernel: {text}", time(second)).expect("a string grows");
        self
    }

    pub(crate) fn klog(&mut self, second: f64, text: &str) -> &mut Self {
        writeln!(self.kubelet, "I1123 {}     440 file.go:1] {text}", time(second)).expect("a string grows");
        self
    }

    /// The kubelet goes on, and has nothing to say.
    pub(crate) fn goes_on(&mut self, second: f64) -> &mut Self {
        self.klog(second, r#""RemoveContainer" containerID="0""#)
    }

    /// The pod's sandbox and container start.
    pub(crate) fn starts(&mut self, second: f64, place: Place) -> &mut Self {
        let sandbox = Place { id: place.pod, ..place };
        self.klog(second, &format!(r#""SyncLoop ADD" source="api" pods=["{}"]"#, place.name()))
            .lifecycle(second + 1.0, "Started", sandbox)
            .restarts(second + 2.0, place)
    }

    pub(crate) fn restarts(&mut self, second: f64, place: Place) -> &mut Self {
        self.lifecycle(second, "Started", place)
    }

    pub(crate) fn ends(&mut self, second: f64, place: Place, code: i32) -> &mut Self {
        let finished = format!(
            r#""Generic (PLEG): container finished" podID="{}" containerID="{}" exitCode={code}"#,
            place.uid(),
            place.id()
        );
        self.klog(second, &finished).lifecycle(second + 0.001, "Died", place)
    }

    fn lifecycle(&mut self, second: f64, kind: &str, place: Place) -> &mut Self {
        let (uid, id) = (place.uid(), place.id());
        let event = format!(r#"{{"ID":"{uid}","Type":"Container{kind}","Data":"{id}"}}"#);
        self.klog(second, &format!(r#""SyncLoop (PLEG): event for pod" pod="{}" event={event}"#, place.name()))
    }

    pub(crate) fn killing(&mut self, second: f64, place: Place, grace: u32) -> &mut Self {
        let (name, uid, id) = (place.name(), place.uid(), place.id());
        self.klog(
            second,
            &format!(
                r#""Killing container with a grace period" pod="{name}" podUID="{uid}" containerName="{}" containerID="containerd://{id}" gracePeriod={grace}"#,
                place.container
            ),
        )
    }

    pub(crate) fn deleted(&mut self, second: f64, place: Place) -> &mut Self {
        self.klog(second, &format!(r#""SyncLoop DELETE" source="api" pods=["{}"]"#, place.name()))
    }

    /// The kubelet is started anew.
    pub(crate) fn kubelet_starts(&mut self, second: f64) -> &mut Self {
        self.klog(
            second,
            r#""Creating Container Manager object based on Node Config" nodeConfig={"NodeName":"node1","HardEvictionThresholds":[{"Signal":"memory.available","Operator":"LessThan","Value":{"Quantity":"100Mi","Percentage":0},"GracePeriod":0,"MinReclaim":null}]}"#,
        )
    }

    /// All that the kubelet says at its default verbosity when it evicts a pod for a resource; its container ends with a code.
    pub(crate) fn evicts_for(&mut self, resource: &str, second: f64, place: Place, code: i32, grace: u32) -> &mut Self {
        let name = place.name();
        let of_resource = |what: &str| format!(r#""Eviction manager: {what}" resourceName="{resource}""#);
        self.klog(second, &of_resource("attempting to reclaim"))
            .klog(second + 0.01, &of_resource("must evict pod(s) to reclaim"))
            .klog(
                second + 0.02,
                &format!(r#""Eviction manager: pods ranked for eviction" pods=["{name}","default/other"]"#),
            )
            .ends_evicted(second, place, code, grace)
    }

    /// The same for memory.
    pub(crate) fn evicts(&mut self, second: f64, place: Place, code: i32, grace: u32) -> &mut Self {
        self.evicts_for("memory", second, place, code, grace)
    }

    /// What follows the choice: all that is said where a pod is evicted for its own use of the disk.
    pub(crate) fn ends_evicted(&mut self, second: f64, place: Place, code: i32, grace: u32) -> &mut Self {
        let name = place.name();
        let of_pod = |what: &str| format!(r#""Eviction manager: {what}" pods=["{name}"]"#);
        self.killing(second + 0.1, place, grace)
            .ends(second + 1.0 + f64::from(grace), place, code)
            .klog(second + 4.0, &format!(r#""Eviction manager: pod is evicted successfully" pod="{name}""#))
            .klog(second + 4.01, &of_pod("pods evicted, waiting for pod to be cleaned up"))
            .klog(second + 6.0, &of_pod("pods successfully cleaned up"))
    }

    /// The kernel's report of a kill: the victim is `memhog`, `others` are processes of the same cgroup.
    pub(crate) fn oom(
        &mut self,
        second: f64,
        place: Place,
        pid: u32,
        over: Over,
        group: bool,
        others: &[&str],
    ) -> &mut Self {
        let (path, own) = match over {
            Over::Container => (place.cgroup(), place.cgroup()),
            Over::Pod => (place.pod_cgroup(), place.cgroup()),
            Over::Kubepods => ("/kubepods.slice".to_owned(), place.cgroup()),
            Over::Node => (String::new(), place.cgroup()),
        };
        let limit = if matches!(over, Over::Kubepods) { 1 << 20 } else { 64 << 10 };
        self.dmesg(second, "memhog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=984");
        if path.is_empty() {
            self.dmesg(second, "Mem-Info:").dmesg(second, "524154 pages RAM");
        } else {
            self.dmesg(second, &format!("memory: usage {limit}kB, limit {limit}kB, failcnt 46"));
            self.dmesg(second, "swap: usage 0kB, limit 0kB, failcnt 0");
            self.dmesg(second, &format!("Memory cgroup stats for {path}:"));
        }
        self.dmesg(second, "Tasks state (memory values in pages):");
        self.dmesg(
            second,
            "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
        );
        for (pid, comm) in others.iter().zip(1..).map(|(comm, n)| (pid - n, *comm)).chain([(pid, "memhog")]) {
            let pages = if comm == "memhog" { 16_000 } else { 80 };
            self.dmesg(
                second,
                &format!(
                    "[{pid:>7}]     0 {pid:>5} {pages:>8} {pages:>8} {pages:>8}        0         0   167936        0           984 {comm}"
                ),
            );
        }
        let constraint = match over {
            Over::Node => "CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom".to_owned(),
            _ => format!(
                "CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-{}.scope,mems_allowed=0,oom_memcg={path}",
                place.id()
            ),
        };
        self.dmesg(second, &format!("oom-kill:constraint={constraint},task_memcg={own},task=memhog,pid={pid},uid=0"));
        let words = if path.is_empty() { "Out of memory" } else { "Memory cgroup out of memory" };
        let killed = |pid: u32, comm: &str| {
            format!(
                "{words}: Killed process {pid} ({comm}) total-vm:66588kB, anon-rss:65204kB, file-rss:544kB, shmem-rss:0kB, UID:0 pgtables:168kB oom_score_adj:984"
            )
        };
        self.dmesg(second, &killed(pid, "memhog"));
        if group {
            self.dmesg(second, &format!("Tasks in {own} are going to be killed due to memory.oom.group set"));
            for (comm, n) in others.iter().zip(1..) {
                self.dmesg(second, &killed(pid - n, comm));
            }
            self.dmesg(second, &killed(pid, "memhog"));
        }
        self
    }

    /// The logs in another form.
    pub(crate) fn recast(&self, kubelet: Kubelet, cgroups: Cgroups) -> Self {
        Self { kernel: cgroups.recast(&self.kernel), kubelet: kubelet.recast(&cgroups.recast(&self.kubelet)) }
    }
}
