//! What was lost of the events that incidents are made of, and when: it bounds what can be said of the incidents of that time.

use oomtrace_model::{Lost, LostFrom};

use super::windows::SECOND;

/// A loss is noticed and reported at most this long after it happened: oomtrace asks the kernel for its counts every second, on
/// a busy machine somewhat later.
pub(super) const REPORTED: i64 = 15 * SECOND;
/// A storm that goes on for hours must not take memory without end.
const MOST: usize = 256;

/// Losses of a node, in the order in which they were reported.
#[derive(Debug, Default)]
pub(super) struct Losses(Vec<Loss>);

/// What was lost from one place, in one piece of time.
#[derive(Clone, Copy, Debug)]
struct Loss {
    /// When it was reported first and last, nanoseconds since 1970.
    first: i64,
    last: i64,
    from: LostFrom,
    count: u64,
}

impl Losses {
    /// Takes in what was lost; whether it can have been a part of an incident.
    pub(super) fn add(&mut self, at: i64, lost: &Lost) -> bool {
        if !matters(lost.from) {
            return false;
        }
        let same = self.0.iter_mut().rev().find(|loss| loss.from == lost.from && at - loss.last <= REPORTED);
        if let Some(loss) = same {
            (loss.last, loss.count) = (loss.last.max(at), loss.count + lost.count);
            return true;
        }
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Loss { first: at, last: at, from: lost.from, count: lost.count });
        true
    }

    /// What was lost between two times, in words for a list of what is missing; empty where nothing was.
    pub(super) fn between(&self, first: i64, last: i64) -> Vec<String> {
        let during = self.0.iter().filter(|loss| loss.first - REPORTED <= last && loss.last >= first);
        during.map(|loss| format!("whether there was more: {} at the time", words(loss.from, loss.count))).collect()
    }
}

/// Whether an incident can be made of what was lost there.
fn matters(from: LostFrom) -> bool {
    match from {
        LostFrom::Ring
        | LostFrom::Program
        | LostFrom::KernelLog
        | LostFrom::KubeletLog
        | LostFrom::Source
        | LostFrom::Timeline => true,
        // It was known, and only not printed; of a report that is missing the kill is known.
        LostFrom::Stdout
        | LostFrom::Record
        | LostFrom::Output
        | LostFrom::KubernetesEvents
        | LostFrom::Otlp
        | LostFrom::Web
        | LostFrom::Map
        | LostFrom::KernelReport => false,
    }
}

fn words(from: LostFrom, count: u64) -> String {
    let (one, several, what) = match from {
        LostFrom::Ring => ("record", "records", "of the probes found the ring buffer full"),
        LostFrom::Program => ("run", "runs", "of the probes were skipped by the kernel"),
        LostFrom::KernelLog => ("line", "lines", "of the kernel's log were lost"),
        LostFrom::KubeletLog => ("line", "lines", "of the kubelet's log were lost"),
        _ => ("event", "events", "were lost"),
    };
    let what = if count == 1 { what.replacen("were", "was", 1) } else { what.to_owned() };
    format!("{count} {} {what}", if count == 1 { one } else { several })
}
