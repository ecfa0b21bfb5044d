//! Lines in the order of what happened, whatever the order in which they came.

use std::{collections::BTreeMap, sync::Arc};

use oomtrace_model::Source;

use super::digested::Digested;

/// By what lines are kept in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    pub(super) at: i64,
    pub(super) node: Arc<str>,
    pub(super) source: Source,
    /// It tells lines of one time apart; [`by_node`] puts those in the order of their numbers.
    pub(super) arrival: u64,
}

/// An event in the timeline's order.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Nanoseconds since 1970.
    pub(super) at: i64,
    pub(super) line: Arc<Digested>,
    /// It only teaches names, or that something was killed in a container before.
    pub(super) lesson: bool,
}

/// Lines by node, each once: the same may be read from two files.
pub(super) fn by_node<'a>(
    lines: impl Iterator<Item = (&'a Order, &'a Arc<Digested>, bool)>,
) -> BTreeMap<&'a str, Vec<Kept>> {
    let mut nodes: BTreeMap<&str, Vec<Kept>> = BTreeMap::new();
    for (order, line, lesson) in lines {
        nodes.entry(&order.node).or_default().push(Kept { at: order.at, line: Arc::clone(line), lesson });
    }
    for lines in nodes.values_mut() {
        // What is remembered of lines that were let go of comes first, and is not always from before.
        if !lines.is_sorted_by_key(|kept| kept.at) {
            lines.sort_by_key(|kept| (kept.at, kept.line.source));
        }
        let of_one_time = |a: &Kept, b: &Kept| (a.at, a.line.source) == (b.at, b.line.source);
        if lines.windows(2).any(|pair| of_one_time(&pair[0], &pair[1])) {
            for same in lines.chunk_by_mut(of_one_time).filter(|same| same.len() > 1) {
                same.sort_by_cached_key(|kept| (kept.line.of_event(), kept.lesson, kept.line.seq));
            }
            lines.dedup_by(|b, a| of_one_time(a, b) && a.line.of_event() == b.line.of_event());
            // A log with whole seconds has its lines in the order in which things happened.
            for same in lines.chunk_by_mut(of_one_time).filter(|same| same.len() > 1) {
                same.sort_by_key(|kept| kept.line.seq);
            }
        }
    }
    nodes
}

/// Both in one order.
#[cfg(test)]
pub(super) fn merge<'a>(
    evidence: &'a BTreeMap<Order, Arc<Digested>>,
    context: &'a BTreeMap<Order, Arc<Digested>>,
) -> impl Iterator<Item = (&'a Order, &'a Arc<Digested>)> {
    let (mut left, mut right) = (evidence.iter().peekable(), context.iter().peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some((a, _)), Some((b, _))) if b < a => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}
