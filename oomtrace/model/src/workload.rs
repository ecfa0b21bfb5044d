//! What an incident's pod belongs to: the workload that somebody would change to prevent the next one.

use crate::{Incident, Pod};

/// Letters and digits of the random part of a name (`k8s.io/apimachinery/pkg/util/rand`), of which a `ReplicaSet`'s hash is made,
/// too.
const RANDOM: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// What a pod is made by, as people call it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// The controller's name, or the pod's without what was added to it; outside pods the unit, the cgroup or the program.
    pub name: String,
    /// The controller's kind, where it is known.
    pub kind: Option<String>,
}

impl Workload {
    fn new(name: &str, kind: Option<&str>) -> Self {
        Self { name: name.to_owned(), kind: kind.map(ToOwned::to_owned) }
    }
}

impl Incident {
    /// The workload that it is of.
    #[must_use]
    pub fn workload(&self) -> Workload {
        let Some(pod) = &self.pod else {
            let cgroup = self.cgroup.as_ref();
            let outside = cgroup.and_then(|cgroup| cgroup.unit.as_deref().or(cgroup.path.as_deref()));
            return Workload::new(outside.or(self.victim_comm.as_deref()).unwrap_or("unknown"), None);
        };
        let Some(owner) = &pod.owner else {
            return match &pod.name {
                Some(name) => Workload::new(without_suffix(name), None),
                None => Workload { name: by_uid(pod), kind: None },
            };
        };
        match (owner.kind.as_str(), without_hash(&owner.name), without_time(&owner.name)) {
            ("ReplicaSet", Some(deployment), _) => Workload::new(deployment, Some("Deployment")),
            ("Job", _, Some(job)) => Workload::new(job, Some("CronJob")),
            // A static pod is called by its manifest and its node.
            ("Node", ..) => {
                let suffix = format!("-{}", owner.name);
                let own = pod.name.as_deref().map(|name| name.strip_suffix(suffix.as_str()).unwrap_or(name));
                Workload::new(own.unwrap_or(&owner.name), Some("Node"))
            }
            (kind, ..) => Workload::new(&owner.name, Some(kind)),
        }
    }
}

fn by_uid(pod: &Pod) -> String {
    pod.uid.as_ref().map_or_else(|| "unknown".to_owned(), |uid| format!("pod {uid}"))
}

fn is_random(part: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&part.len()) && part.bytes().all(|byte| RANDOM.contains(&byte))
}

/// `cart-7c9f8d6b5`: the `Deployment`'s name.
fn without_hash(name: &str) -> Option<&str> {
    name.rsplit_once('-').filter(|(_, hash)| is_random(hash, 6..=10)).map(|(name, _)| name)
}

/// `backup-28934700`: the `CronJob`'s name, of a job that is called by the minute.
fn without_time(name: &str) -> Option<&str> {
    let digits = |part: &str| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_digit());
    name.rsplit_once('-').filter(|(_, minute)| digits(minute)).map(|(name, _)| name)
}

/// A pod's name without what its controller added.
fn without_suffix(pod: &str) -> &str {
    match pod.rsplit_once('-') {
        Some((rest, random)) if is_random(random, 5..=5) => {
            without_hash(rest).or_else(|| without_time(rest)).unwrap_or(rest)
        }
        // Of a `StatefulSet`.
        Some((rest, ordinal)) if !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => pod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owner;

    #[test]
    fn a_workload_is_the_controller_or_the_pods_name_without_a_hash() {
        for (owner, name, expected) in [
            (Some(("ReplicaSet", "cart-7c9f8d6b5")), "cart-7c9f8d6b5-x2vbc", ("cart", Some("Deployment"))),
            (Some(("ReplicaSet", "own")), "own-x2vbc", ("own", Some("ReplicaSet"))),
            (Some(("StatefulSet", "db")), "db-0", ("db", Some("StatefulSet"))),
            (Some(("Job", "backup-28934700")), "backup-28934700-x2vbc", ("backup", Some("CronJob"))),
            (Some(("Job", "once")), "once-x2vbc", ("once", Some("Job"))),
            (Some(("Node", "n1")), "etcd-n1", ("etcd", Some("Node"))),
            (None, "cart-7c9f8d6b5-x2vbc", ("cart", None)),
            (None, "agent-x2vbc", ("agent", None)),
            (None, "db-0", ("db", None)),
            (None, "oom-burstable", ("oom-burstable", None)),
            (None, "web", ("web", None)),
        ] {
            let owner = owner.map(|(kind, name)| Owner { kind: kind.to_owned(), name: name.to_owned() });
            let pod = Some(Pod { name: Some(name.to_owned()), owner, ..Pod::default() });
            let found = Incident { pod, ..Incident::default() }.workload();
            assert_eq!((found.name.as_str(), found.kind.as_deref()), expected, "{name}");
        }
    }
}
