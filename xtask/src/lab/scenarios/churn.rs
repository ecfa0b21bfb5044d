//! An hour of a busy node in some minutes: many short pods, of which one in ten is killed by the kernel and the others end in
//! every other way.

use anyhow::Result;
use serde_json::{Value, json};

use super::{PATIENCE, stage::Stage};
use crate::image;

/// So many pods are there at a time.
const AT_A_TIME: u32 = 8;

/// Starts pods by and by, and deletes what does not end by itself.
pub(super) fn act(stage: &Stage<'_>) -> Result<()> {
    let mut first = 0;
    while first < stage.churn {
        let numbers = first..stage.churn.min(first + AT_A_TIME);
        first = numbers.end;
        let pods: Vec<_> = numbers.clone().map(pod).collect();
        stage.create(&json!({ "apiVersion": "v1", "kind": "List", "items": pods }))?;
        let names: Vec<_> = numbers.clone().filter(|number| Fate::of(*number).is_deleted()).map(name).collect();
        stage.wait("the pods of this round run or have ended", PATIENCE, |pods| {
            let of_this = |number: u32| pods.existing().find(|pod| pod.name == name(number));
            numbers.clone().all(|number| match of_this(number) {
                Some(pod) if Fate::of(number).is_deleted() => pod.phase == "Running",
                pod => pod.is_some_and(super::pods::Pod::has_ended),
            })
        })?;
        if !names.is_empty() {
            let mut arguments = vec!["delete", "pod", "--wait=false"];
            arguments.extend(names.iter().map(String::as_str));
            stage.kubectl(&arguments)?;
        }
    }
    stage.wait("the last pods are deleted", PATIENCE, |pods| pods.existing().all(super::pods::Pod::has_ended))
}

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Killed,
    Fails,
    DeletedAndKilled,
    DeletedAndEnds,
    EndsWell,
}

impl Fate {
    fn of(number: u32) -> Self {
        match number % 10 {
            3 => Self::Killed,
            5 => Self::Fails,
            7 => Self::DeletedAndKilled,
            9 => Self::DeletedAndEnds,
            _ => Self::EndsWell,
        }
    }

    fn is_deleted(self) -> bool {
        matches!(self, Self::DeletedAndKilled | Self::DeletedAndEnds)
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Killed => &["leak", "--block=8Mi", "--every=20ms", "--max=256Mi"],
            Self::Fails => &["leak", "--block=4Mi", "--every=20ms", "--give-up=8Mi"],
            Self::DeletedAndKilled => &["leak", "--max=4Mi", "--on-term=ignore"],
            Self::DeletedAndEnds => &["leak", "--max=4Mi", "--on-term=143"],
            Self::EndsWell => &["leak", "--max=4Mi", "--for=1s"],
        }
    }
}

fn name(number: u32) -> String {
    format!("churn-{number:04}")
}

fn pod(number: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name(number) },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "work",
                "image": image::NAME,
                "args": Fate::of(number).arguments(),
                "resources": { "limits": { "memory": "40Mi" }, "requests": { "memory": "4Mi", "cpu": "1m" } },
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pod_in_ten_is_killed_for_memory_and_two_are_deleted() {
        let fates: Vec<_> = (0..200).map(Fate::of).collect();
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Killed).count(), 20);
        assert_eq!(fates.iter().filter(|fate| fate.is_deleted()).count(), 40);
    }
}
