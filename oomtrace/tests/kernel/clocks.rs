//! A wall clock that is set while oomtrace runs, as by NTP after a boot with a wrong time.

use std::{collections::BTreeMap, fs, io::Write as _, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq, kubelet_words,
    oomtrace::{Oomtrace, of_kind},
    scenarios::{Scenario, run_to_death},
};

pub(crate) const ALL: &[Scenario] =
    &[("a_clock_that_is_set_hides_nothing_and_has_no_incident_reported_again", back_and_forward)];

const LOG: &str = "/tmp/clocks-kubelet.log";
const HOUR: i64 = 3600;

/// The wall clock, set by so many seconds for as long as this lives.
struct Set(i64);

impl Set {
    fn by(seconds: i64) -> Result<Self> {
        set_by(seconds)?;
        Ok(Self(seconds))
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = set_by(-self.0);
    }
}

/// Sets the wall clock forward, or back.
pub(crate) fn set_by(seconds: i64) -> Result<()> {
    // SAFETY: zeros are a time, and both calls are given one.
    let result = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time);
        time.tv_sec += seconds;
        libc::clock_settime(libc::CLOCK_REALTIME, &raw const time)
    };
    ensure!(result == 0, "the clock cannot be set: {}", std::io::Error::last_os_error());
    Ok(())
}

/// The kubelet evicts a pod now. Its log is looked at twice a second.
fn evict(pod: &str) -> Result<()> {
    let mut log = fs::File::options().append(true).open(LOG)?;
    log.write_all(kubelet_words::eviction(&format!("shop/{pod}")).as_bytes())?;
    thread::sleep(Duration::from_secs(3));
    Ok(())
}

fn back_and_forward() -> Outcome {
    let containers = [Cgroup::make(&container_path(86, 86))?, Cgroup::make(&container_path(87, 87))?];
    containers.iter().try_for_each(|container| container.limit(20))?;
    fs::write(LOG, "")?;
    let oomtrace = Oomtrace::start(&["--kubelet-log", LOG])?;
    run_to_death("eat", &containers[0])?;
    evict("before")?;
    let set = Set::by(-HOUR)?;
    evict("back")?;
    run_to_death("eat", &containers[1])?;
    thread::sleep(Duration::from_secs(3));
    drop(set);
    evict("forward")?;
    let lines = oomtrace.stop()?;
    let evicted: Vec<_> = of_kind(&lines, "eviction")
        .into_iter()
        .filter(|step| step["phase"] == "evicted")
        .map(|step| step["pod"]["name"].clone())
        .collect();
    check_eq!(evicted, ["before", "back", "forward"], "the pods that were evicted");
    let mut reported: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for incident in of_kind(&lines, "incident") {
        let text = |field: &str| incident[field].as_str().with_context(|| format!("no {field}: {incident}"));
        reported.entry(text("id")?).or_default().push(text("state")?);
    }
    check_eq!(of_kind(&lines, "oom_kill").len(), 2, "kills");
    check_eq!(reported.len(), 5, "incidents: {reported:?}");
    for (id, states) in &reported {
        let closed = states.iter().filter(|state| **state == "closed").count();
        ensure!(closed == 1 && states.len() <= 3, "{id} was reported again: {reported:?}");
    }
    Ok(())
}
