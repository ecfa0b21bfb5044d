//! What the kernel's own log says of its kills: the truth that no program of ours had a hand in.

/// One decision of the OOM killer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kill {
    /// The pod's uid, from the victim's cgroup; `None` outside of pods.
    pub(super) pod_uid: Option<String>,
    /// The container's id.
    pub(super) container: Option<String>,
    /// Whose limit was hit, as oomtrace calls it.
    pub(super) level: &'static str,
    /// The victim.
    pub(super) task: String,
}

/// The kills in what `journalctl -k -o cat` prints: one `oom-kill:` line each (`mm/oom_kill.c:dump_oom_victim`). The kernel drops
/// reports beyond 10 in 5 s, which no scenario makes.
pub(super) fn kills(log: &str) -> Vec<Kill> {
    log.lines().filter_map(|line| Some(kill(line.split_once("oom-kill:")?.1))).collect()
}

fn kill(line: &str) -> Kill {
    let field = |name: &str| {
        let value = line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        value.map(str::to_owned)
    };
    let victim = field("task_memcg").unwrap_or_default();
    let container = container(&victim);
    Kill {
        pod_uid: pod_uid(&victim),
        level: field("oom_memcg").map_or("node", |limit| level(&limit)),
        container,
        task: field("task").unwrap_or_default(),
    }
}

/// The level of a limit, by its cgroup.
fn level(cgroup: &str) -> &'static str {
    if container(cgroup).is_some() {
        "container"
    } else if pod_uid(cgroup).is_some() {
        "pod"
    } else {
        match cgroup.rsplit('/').next().unwrap_or_default() {
            "kubepods" | "kubepods.slice" => "kubepods",
            name if name.contains("burstable") || name.contains("besteffort") => "qos",
            _ => "other",
        }
    }
}

/// The uid in a path such as `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a1b_….slice/…` (systemd driver) or
/// `/kubepods/besteffort/pod0a1b-…/…` (cgroupfs driver).
fn pod_uid(path: &str) -> Option<String> {
    path.split('/').find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let uid = part.rsplit_once("-pod").map_or_else(|| part.strip_prefix("pod"), |(_, uid)| Some(uid))?;
        (uid.len() >= 32).then(|| uid.replace('_', "-"))
    })
}

/// The id in a path's part such as `cri-containerd-<64 hex digits>.scope`, or the digits alone.
fn container(path: &str) -> Option<String> {
    path.split('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit('-').next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f0c9be3b0f0a3c8f7b1f1c0d9e8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0";

    #[test]
    fn a_kill_has_its_pod_its_container_and_the_level_of_the_limit() {
        let pod =
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod27340009_8ade_4780_a577_006bebb9c696.slice";
        let scope = format!("{pod}/cri-containerd-{ID}.scope");
        for (limit, level) in [
            (format!("oom_memcg={scope}"), "container"),
            (format!("oom_memcg={pod}"), "pod"),
            ("oom_memcg=/kubepods.slice".to_owned(), "kubepods"),
            ("oom_memcg=/kubepods.slice/kubepods-burstable.slice".to_owned(), "qos"),
            ("oom_memcg=/system.slice/cron.service".to_owned(), "other"),
            ("global_oom".to_owned(), "node"),
        ] {
            let log = format!(
                "Memory cgroup stats\noom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,{limit},task_memcg={scope},task=oomtrace,pid=99,uid=0\n"
            );
            let expected = Kill {
                pod_uid: Some("27340009-8ade-4780-a577-006bebb9c696".to_owned()),
                container: Some(ID.to_owned()),
                level,
                task: "oomtrace".to_owned(),
            };
            assert_eq!(kills(&log), [expected], "{limit}");
        }
    }

    #[test]
    fn the_cgroupfs_driver_and_a_victim_outside_of_pods_are_read_too() {
        let log = format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/kubepods/besteffort/podabcd0009-8ade-4780-a577-006bebb9c696,task_memcg=/kubepods/besteffort/podabcd0009-8ade-4780-a577-006bebb9c696/{ID},task=a,pid=1,uid=0\n\
             oom-kill:constraint=CONSTRAINT_NONE,global_oom,task_memcg=/system.slice/cron.service,task=cron,pid=2,uid=0\n"
        );
        let kills = kills(&log);
        assert_eq!(kills[0].pod_uid.as_deref(), Some("abcd0009-8ade-4780-a577-006bebb9c696"));
        assert_eq!((kills[0].container.as_deref(), kills[0].level), (Some(ID), "pod"));
        assert_eq!((&kills[1].pod_uid, &kills[1].container, kills[1].level), (&None, &None, "node"));
    }
}
