//! What would say more of an incident, and where that is to be had.

/// What is missing.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Missing {
    /// The pod's name.
    PodName,
    /// The pod's uid.
    PodUid,
    /// How many containers the pod has, so whose limit the pod's is.
    Containers,
    /// Whether a container outlived a kill.
    LivedOn,
    /// The same outside of Kubernetes.
    LivedOnOutside,
    /// When a kill was, of which an age is known.
    TimeOfPrinting,
    /// When a kill was.
    TimeOfKill,
    /// When it was.
    Time,
    /// Of a kill that is known by the kernel's choice.
    VictimOfChoice,
    /// Of a kill that is known by its limit.
    VictimOfLimit,
    /// Of a kill that is known by what the reaper took.
    KillLine,
    /// Whether a part of the node ran out.
    PartOfNode,
    /// The same of a kernel that does not say.
    PartOfOldNode,
    /// Whether a person asked for it.
    Asked,
    /// Whether the limit was that of a cgroup above the one that is known.
    LimitAbove,
    /// Why an allocation failed.
    WhyFailed,
    /// Whose limit was hit.
    KernelLog,
    /// Whose limit was hit, where the kernel left its report out.
    Report,
    /// Which of several evictions was for which signal.
    WhichEviction,
    /// What an eviction was for.
    Resource,
    /// Whether an eviction was for disk space.
    DiskPressure,
    /// Which limit on storage a pod was evicted for.
    StorageLimit,
    /// Which signal of memory it was.
    Signal,
    /// Which of both signals of memory came first.
    FirstSignal,
    /// Whether the other signal of memory was below its threshold.
    OtherSignal,
    /// How much was available.
    Amounts,
    /// Whether an end was for a probe that events name.
    ForProbe,
    /// Who killed what ended with 137.
    Killer,
    /// Whether a program crashed for memory.
    LastWords,
    /// How the containers of a pod ended that koordlet evicted.
    EndOfEvicted,
    /// Whether nobody may be killed.
    NoneKillable,
    /// How what a user-space OOM killer killed ended.
    EndOfSignalled,
}

impl Missing {
    /// In words.
    pub(in super::super) fn text(self) -> String {
        match self {
            Self::PodName => "the pod's name: --pods, or the kubelet's log",
            Self::PodUid => "the pod's uid: --pods, or the kubelet's log at verbosity 2",
            Self::Containers => "how many containers the pod has: --pods, or the kubelet's log from when it started",
            Self::LivedOn => "whether the container lived on: the kubelet's log from after the kill",
            Self::LivedOnOutside => "whether the container lived on: the container runtime's events from after the kill",
            Self::TimeOfPrinting => "when it was: what was printed has an age, and not when that was (--printed-at)",
            Self::TimeOfKill => "when it was: the log has no time of it (`dmesg -T` and `journalctl -k` print times)",
            Self::Time => "when it was: the lines have no time",
            Self::VictimOfChoice => "who was killed: the log has the kernel's choice alone, and a child of it may have been killed instead",
            Self::VictimOfLimit => "who was killed: the log has only the line that names the victim's cgroup",
            Self::KillLine => "the kill's own line: the log has only that the victim's memory was taken",
            Self::PartOfNode => "whether the whole node ran out, or a part of it: the kernel's report (--kernel-log)",
            Self::PartOfOldNode => "whether the whole node ran out, or a part of it: kernels before 5.0 do not say",
            Self::WhyFailed => "why the allocation failed while memory was free: the kernel's messages before it",
            Self::Asked => "whether a person asked for it (SysRq-f): the first line of the kernel's report",
            Self::LimitAbove => "whether it was the limit of a cgroup above this one: the first lines of the kernel's report",
            Self::KernelLog => "whose limit was hit: the kernel's log (--kernel-log)",
            Self::Report => "whose limit was hit: the kernel's report, of which the log has one line (the kernel leaves reports out beyond 10 in 5 s)",
            Self::WhichEviction => "which of these evictions was for which signal: the kubelet's counter has the sums",
            Self::Resource => "for which resource, and which signal: the kubelet's log from before (\"attempting to reclaim\"), or the pod's status or event (--pods)",
            Self::DiskPressure => "whether it was for disk space, as the node had disk pressure at about that time",
            Self::StorageLimit => "which limit on storage it was: the pod's status or event (--pods)",
            Self::Signal => "which signal crossed its threshold: the kubelet's metrics (--kubelet-metrics), or its log at verbosity 3",
            Self::FirstSignal => "which came first: both signals of memory were below their thresholds, and which of them the kubelet blames is chance",
            Self::OtherSignal => "whether the other signal of memory was below its threshold, too, for then the kubelet blames either: its log at verbosity 3",
            Self::Amounts => "how much was available: the pod's status or event (--pods), or the kubelet's log at verbosity 3",
            Self::ForProbe => "whether this end was for the probe: its events have no time that tells (the kubelet's log, --kubelet-log)",
            Self::Killer => "who killed it: the node's kernel log and its kubelet's (--kernel-log, --kubelet-log) say more",
            Self::LastWords => "whether the program ran out of memory of its own: its log's last lines (a copy of /var/log/pods with --pods)",
            Self::EndOfEvicted => "how its containers ended: koordlet's log says only that it evicted the pod",
            Self::NoneKillable => "that nobody may be killed: the kernel's log says it (\"no killable processes\")",
            Self::EndOfSignalled => "how it ended: the killer's log says only that it sent the signal",
        }
        .to_owned()
    }

    /// Whether it is the time, as far as `text` says.
    pub(in super::super) fn is_time(text: &str) -> bool {
        text.starts_with("when it was")
    }
}
