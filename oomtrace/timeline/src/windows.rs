//! How far apart in time things may be that belong together, and why.
//!
//! Time never pairs anything by itself: a pod's uid, a container's id, a process's id do. These windows only bound how
//! long after one thing another with the same identity still belongs to it.

/// A second, in the timeline's unit.
pub(super) const SECOND: i64 = 1_000_000_000;

/// Two tellings of one kill, by the probes and by the kernel's log in one or several forms: same process, same cgroup.
/// `dmesg -T` prints whole seconds and is off by what the clocks drifted apart since boot; no process id comes back in
/// the same container within a minute.
pub(super) const SAME_KILL: i64 = 60 * SECOND;

/// Two tellings of one step of the kubelet: its log may be given in several forms, some of them with whole seconds.
pub(super) const SAME_STEP: i64 = 2 * SECOND;

/// [`oomtrace_model::NOTICED`].
pub(super) const NOTICED: i64 = oomtrace_model::NOTICED.as_secs() * SECOND;

/// Until the kubelet relists it may tell a container to end that has ended already: `genericPlegRelistPeriod`, and the relist
/// itself.
pub(super) const RELIST: i64 = 3 * SECOND;

/// An incident closes when nothing has come for so long: the eviction loop's 10 s (`monitoringInterval`), its wait for
/// clean-up of 30 s (`podCleanupTimeout`), and the seconds of [`NOTICED`] in which the last step is logged.
pub(super) const CLOSES_AFTER: i64 = 75 * SECOND;

/// Ends of one container for one cause are one incident where they are not further apart: the longest back-off of 5 min
/// (`MaxContainerBackOff`), and the 10 min of running after which the kubelet itself no longer speaks of a crash loop
/// (twice the longest back-off, `flowcontrol.Backoff`).
pub(super) const CRASH_LOOP: i64 = 15 * 60 * SECOND;

/// From a kill to an eviction of the same pod: the same as a crash loop's, for the pod may be evicted when its container
/// is started again.
pub(super) const KILL_TO_EVICTION: i64 = CRASH_LOOP;

/// From the pass that chose a pod to its last step: the longest grace period of a soft eviction that is in use
/// (`evictionMaxPodGracePeriod` is seldom more than minutes), and the clean-up.
pub(super) const EVICTION: i64 = 10 * 60 * SECOND;

/// From an eviction to when the kubelet's counter of them is read: every 10 s, and the kubelet may take its time to answer.
pub(super) const COUNTED: i64 = 16 * SECOND;

/// From what was observed to the threshold that is met by it: one pass, which is over before the next begins, 10 s later.
pub(super) const OBSERVED: i64 = 8 * SECOND;

/// From a threshold that is met to the ranking of pods: reclaiming comes between.
pub(super) const PASS: i64 = 20 * SECOND;

/// From a soft threshold that is not met for long enough to the eviction for it: one pass, or several where a pod was
/// evicted and cleaned up in between.
pub(super) const SOFT: i64 = 60 * SECOND;

/// From a signal to the end it leads to: SIGTERM's grace period is 30 s unless the pod asks for more.
pub(super) const SIGTERM_TO_END: i64 = 10 * 60 * SECOND;

/// SIGKILL takes effect when the process next runs; with much memory to give back that takes seconds.
pub(super) const SIGKILL_TO_END: i64 = 10 * SECOND;

/// From a refused allocation to the end of a program that could not go on without: at once, but a runtime may first
/// collect garbage and write what it knows.
pub(super) const REFUSED_TO_END: i64 = 60 * SECOND;

/// From a failed probe, or a pod's deletion, to the end it leads to.
pub(super) const KILL_REASON_TO_END: i64 = SIGTERM_TO_END;

/// From a probe's last failure to the kubelet's telling the container to end: at once, but for a worker that has more to do.
pub(super) const PROBE_TO_KILL: i64 = 20 * SECOND;

/// What the kubelet does to a container that ends now, it has said within this time, but for pods with a long grace period.
pub(super) const HEARD_BEFORE: i64 = 120 * SECOND;

/// So far may the API server's clock be from the node's.
pub(super) const API_CLOCK: i64 = 5 * SECOND;

/// Readings of memory so long before a kill are part of its picture.
pub(super) const PICTURE: i64 = 120 * SECOND;

/// Lines that are further apart have nothing to do with each other: it is longer than all of these.
pub(super) const PAUSE: i64 = 2 * CRASH_LOOP;
