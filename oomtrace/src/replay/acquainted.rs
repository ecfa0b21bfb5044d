//! Whether the pods that files name are those of the logs: they may be of another cluster.

use tracing::warn;

use crate::{event::Incident, node::snapshot::Snapshot};

/// So many nodes are named.
const MOST_NODES: usize = 4;

/// Pods of incidents, by whether the files know them.
#[derive(Debug, Default)]
pub(super) struct Acquainted {
    known: u64,
    unknown: u64,
}

impl Acquainted {
    /// Takes a look at the pod of an incident.
    pub(super) fn meet(&mut self, incident: &Incident, snapshot: &Snapshot) {
        let Some(uid) = incident.pod.as_ref().and_then(|pod| pod.uid.as_ref()) else { return };
        if snapshot.pods.contains_key(snapshot.canonical(uid)) { self.known += 1 } else { self.unknown += 1 }
    }

    /// Says so where none of the pods is known.
    pub(super) fn say(&self, snapshot: &Snapshot) {
        if let Some(words) = self.in_words(snapshot) {
            warn!("{words}");
        }
    }

    fn in_words(&self, snapshot: &Snapshot) -> Option<String> {
        if self.known > 0 || self.unknown == 0 || snapshot.pods.is_empty() {
            return None;
        }
        let nodes = &snapshot.nodes[..snapshot.nodes.len().min(MOST_NODES)];
        let nodes = if nodes.is_empty() { String::new() } else { format!(", which run on {}", nodes.join(", ")) };
        Some(format!(
            "--pods has pods of another cluster, or of another time: none of the pods of {} incidents is among its {}{nodes}",
            self.unknown,
            snapshot.pods.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Pod, PodUid};

    #[test]
    fn pods_of_another_cluster_are_named_where_none_is_known() {
        let uid = |letter: &str| letter.repeat(32).parse::<PodUid>().expect("a uid");
        let of = |letter: &str| {
            let pod = Some(Pod { uid: Some(uid(letter)), ..Pod::default() });
            Incident { pod, ..Incident::default() }
        };
        let mut snapshot = Snapshot { nodes: vec!["far-1".to_owned()], ..Snapshot::default() };
        snapshot.pods.entry(uid("a")).or_default();
        let mut acquainted = Acquainted::default();
        assert_eq!(acquainted.in_words(&snapshot), None);
        acquainted.meet(&of("b"), &snapshot);
        let words = acquainted.in_words(&snapshot).expect("words");
        assert!(words.contains("pods of another cluster") && words.contains("far-1"), "{words}");
        acquainted.meet(&of("a"), &snapshot);
        assert_eq!(acquainted.in_words(&snapshot), None);
    }
}
