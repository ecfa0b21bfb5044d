//! What is said of ends that neither the OOM killer nor an eviction explains.

use oomtrace_model::{Container, ContainerAction, ContainerChange, Pod, RefusedBy, SenderRole, signal_name};

use super::{
    super::{
        super::{
            evidence::{Cause, Death},
            words::{known_place, one_line, place, pod_name, size, times},
        },
        Context,
        case::{Case, Ending},
        ending::{By, is_called_oom},
        killer::evicts,
    },
    capital,
    heap::{self, Heap, use_of},
    killer::Words,
};

/// What happened, and what helps.
pub(in super::super) fn of(
    case: &Case<'_>,
    context: &Context<'_>,
    ending: &Ending<'_>,
    pod: Option<&Pod>,
    container: Option<&Container>,
) -> (String, String) {
    // It is a container that ended, whatever is known of it.
    let inside = known_place(pod, container);
    let inside = capital(&inside.unwrap_or_else(|| "a container".to_owned()));
    let code = case.deaths.last().and_then(|death| death.exit_code);
    let with_code = code.map_or_else(String::new, |code| format!(" with exit code {code}"));
    let deaths = case.deaths.len() as u64;
    let again = if deaths > 1 { format!(" {}", times(deaths)) } else { String::new() };
    match ending {
        Ending::Crashed => {
            let signal = code.and_then(|code| u32::try_from(code - 128).ok());
            let signal = signal.map_or_else(|| "a signal".to_owned(), signal_name);
            let used = use_of(case, context);
            (
                format!("{inside} crashed{again} by {signal}{}.{used}", in_words(code)),
                format!("{}{}", crash_advice(code), Heap::of(case, context).of_crash()),
            )
        }
        Ending::Refused(refused) => {
            let asked = refused.what.requested_bytes.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
            let limit = refused.what.limit_bytes.map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
            let (what, advice) = refused_by(refused.what.by);
            let who = refused.what.task.comm.as_deref().unwrap_or("it");
            (
                format!(
                    "{inside} gave up{again}{with_code} after the kernel refused {who} an allocation{asked} for {what}{limit}; no limit of a cgroup was hit."
                ),
                advice.to_owned(),
            )
        }
        Ending::GaveUp(log) => {
            let said = log.what.message.as_deref().map_or_else(String::new, |said| format!(": \"{}\"", one_line(said)));
            let used = use_of(case, context);
            let whose = log.what.runtime.as_deref().map_or_else(String::new, |runtime| format!(" ({runtime})"));
            (
                format!(
                    "{inside} gave up{again}{with_code} after its log said that memory ran out{whose}{said}; no OOM kill was seen.{used}"
                ),
                heap::advice(case, context, log.what.runtime.as_deref()),
            )
        }
        Ending::Killed(by) => {
            let (mut summary, mut advice) = killed(by, &inside, pod_name(pod).as_deref(), code, &again);
            if let Some(death) = case.deaths.iter().find(|death| is_called_oom(context, death)) {
                summary.push_str(&called_oom(context, death));
                advice.push_str(ADVICE_CALLED_OOM);
            }
            (summary, advice)
        }
        Ending::Frozen(_) | Ending::LeftAlone(_) | Ending::Panic(_) | Ending::Sent(_) => Default::default(),
    }
}

/// Beside what is said of the end itself.
const ADVICE_CALLED_OOM: &str = " But a process in the container was OOM-killed before, unnoticed: look into that one, in the kernel's log. An alert on OOMKilled should look at the exit code, too.";

/// Why an end is called `OOMKilled` that is none: a process in the container was killed for memory before, and the container
/// lived on.
fn called_oom(context: &Context<'_>, death: &Death) -> String {
    let what = context.evidence.killed_before(death).map_or_else(
        || "a process in it was OOM-killed at some time".to_owned(),
        |(comm, ts)| format!("{comm} was OOM-killed in it at {ts}"),
    );
    format!(" Kubernetes calls it OOMKilled because {what} before, which the container outlived.")
}

fn killed(by: &By<'_>, who: &str, pod: Option<&str>, code: Option<i32>, again: &str) -> (String, String) {
    // What ended may be one of Docker's.
    let look = if pod.is_some() {
        "Look at the pod's events: a failed probe, or a program that did not end in time when it was asked to, ends so."
    } else {
        "Look at who stopped it: a failed probe or health check, or a stop that it did not answer in time, ends so; the kernel's log has the OOM killer's kills."
    };
    let pod = pod.unwrap_or("its pod");
    let code = in_words(code);
    match by {
        By::Sender(signal, reason) => {
            let sender = &signal.what.sender;
            let comm = sender.task.comm.as_deref().unwrap_or("?");
            let pid = sender.task.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            let (whom, why, advice) = match sender.role {
                SenderRole::Oomd => {
                    let Words { name, why, advice } = Words::of(sender);
                    (name, why.to_owned(), advice)
                }
                SenderRole::Kubelet | SenderRole::Runtime => (
                    if sender.role == SenderRole::Kubelet {
                        format!("the kubelet ({comm}{pid})")
                    } else {
                        format!("the container runtime ({comm}{pid})")
                    },
                    because(*reason, pod),
                    "Not memory: Kubernetes asked for it.",
                ),
                SenderRole::SameContainer => (
                    format!("{comm}{pid} in the same container"),
                    "from inside".to_owned(),
                    "Look at the program's own supervisor or entry point.",
                ),
                SenderRole::OtherContainer => (
                    format!("{comm}{pid} in {}", place(sender.task.pod.as_ref(), sender.task.container.as_ref())),
                    "from another container".to_owned(),
                    "Only a container that shares the pid namespace, or has the node's, can do that: look at what it is for.",
                ),
                SenderRole::Person => (
                    format!("{comm}{pid} in a login session on the node"),
                    "outside of Kubernetes".to_owned(),
                    "A person did it, from a shell or with what was started there: the node's login records and shell histories say who.",
                ),
                SenderRole::Systemd => (
                    format!("systemd ({comm}{pid}) on the node"),
                    "outside of Kubernetes".to_owned(),
                    "A unit that holds the container's processes was stopped or restarted, or its limits on time: the node's journal says which.",
                ),
                SenderRole::Process | SenderRole::Kernel => (
                    format!("{comm}{pid} on the node{}", sender.unit.as_deref().map_or_else(String::new, |unit| format!(" ({unit})"))),
                    "outside of Kubernetes".to_owned(),
                    "Something on the node did it: a script, a service, an agent.",
                ),
            };
            let with = if evicts(&signal.what) { String::new() } else { format!(" with {}", signal.what.signal) };
            (
                format!("{who} was ended{again}{with} by {whom} {why}; not by the OOM killer{code}."),
                advice.to_owned(),
            )
        }
        By::Probe(probe) => (
            format!(
                "{who} was ended{again} by the kubelet because a probe failed{} while it was short of memory; not by the OOM killer{code}.",
                probe.what.message.as_deref().or(probe.what.reason.as_deref()).map_or_else(String::new, |text| format!(" ({})", one_line(text))),
            ),
            "A program that reclaims memory or collects garbage near its limit answers late: raise its limit or make it use less, then look at the probe's timeoutSeconds and failureThreshold.".to_owned(),
        ),
        By::Nobody(_) => (
            format!("{who} exited{again} with status 137 by itself: no signal ended its first process, and there was no OOM kill in it."),
            "Not memory. A shell exits with 137 where a command that it ran was killed, and some programs use that status on purpose: the program's log says.".to_owned(),
        ),
        By::Event(_, probe) => (
            format!("{who} ended{again} with exit code 137, which is SIGKILL: its events say that the kubelet ends it because its {probe} probe fails, and SIGKILL follows where it does not end in time."),
            format!("Look at why the {probe} probe fails (timeoutSeconds, failureThreshold, a program that is slow or stuck), and at why the program does not end on SIGTERM. Nothing here says that memory ran out."),
        ),
        By::Unseen(_) => (
            format!("{who} ended{again} with exit code 137, which is SIGKILL; its status does not say who killed it, or why."),
            format!("{look} Nothing here says that memory ran out, and nothing says that it did not."),
        ),
        By::Kubelet(change) => (
            format!("{who} was ended{again} by the kubelet {}; not by the OOM killer{code}.", because(Some(change), pod)),
            advice_of(&change.what).to_owned(),
        ),
    }
}

pub(in super::super) fn because(reason: Option<&Cause<ContainerChange>>, pod: &str) -> String {
    match reason.map(|reason| (reason.what.action, &reason.what)) {
        Some((ContainerAction::PodDeleted, _)) => format!("because pod {pod} was deleted"),
        Some((ContainerAction::ProbeFailed, _)) => "because a probe failed".to_owned(),
        Some((_, change)) if change.reason.as_deref() == Some(ContainerChange::PREEMPTING) => format!(
            "because pod {pod} was preempted{}",
            change.message.as_deref().map_or_else(String::new, |why| format!(" ({why})"))
        ),
        Some((_, change)) if change.reason.as_deref() == Some("PodDeleted") => format!("because pod {pod} was deleted"),
        Some((_, change)) => match change.message.as_deref().or(change.reason.as_deref()) {
            Some(text) => format!("as the kubelet asked ({text})"),
            None => "as the kubelet asked".to_owned(),
        },
        None => "for a reason that is not known".to_owned(),
    }
}

/// Where the kubelet ended a container for a reason of its own.
fn advice_of(change: &ContainerChange) -> &'static str {
    let preempted = change.reason.as_deref() == Some(ContainerChange::PREEMPTING);
    if preempted && change.message.as_deref().is_some_and(|why| why.contains("memory")) {
        "Requests of memory, not its use: the node's pods requested nearly all that is allocatable. Leave room for critical pods, or lower requests that are larger than what is used."
    } else {
        "Not memory."
    }
}

/// An exit code, where it is known.
fn in_words(code: Option<i32>) -> String {
    code.map_or_else(String::new, |code| format!(" (exit code {code})"))
}

fn crash_advice(code: Option<i32>) -> String {
    match code.unwrap_or_default() {
        134 => "No OOM kill was seen. A program that aborts itself may have run out of its own heap below the container's limit (Node.js, .NET, JVM, C++ bad_alloc): its log's last lines say so, and a copy of /var/log/pods (--pods) lets oomtrace read them.",
        135 => "No OOM kill was seen. SIGBUS often is a file mapped into memory that was cut, or a full /dev/shm or tmpfs.",
        _ => "No OOM kill was seen. Look at the program's log and core dump; a runtime that is refused memory may crash, too.",
    }
    .to_owned()
}

fn refused_by(by: RefusedBy) -> (&'static str, &'static str) {
    match by {
        RefusedBy::Overcommit => (
            "the node's overcommit limit",
            "The node allows no more promises of memory (vm.overcommit_memory=2, or a single request larger than RAM and swap): the kubelet sets vm.overcommit_memory=1; look at who changed it, or at why the program asks for so much at once.",
        ),
        RefusedBy::RlimitAs => (
            "its limit on address space",
            "Raise or lift RLIMIT_AS (ulimit -v) of the process: runtimes reserve far more address space than they use.",
        ),
        RefusedBy::RlimitData => ("its limit on data", "Raise or lift RLIMIT_DATA (ulimit -d) of the process."),
        RefusedBy::Rlimit => {
            ("a limit of its own", "Raise or lift RLIMIT_AS or RLIMIT_DATA (ulimit -v, ulimit -d) of the process.")
        }
    }
}
