//! A kill as oomtrace tells it, compared with the kernel's own report.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome, check_eq,
    kernel_log::{self, killed},
    page_bytes,
};

/// How far the kernel's own figures may be off: what `percpu_counter` leaves unadded on two CPUs, 32 pages each
/// (`percpu_counter_batch`). The kernel logs the approximate sum, oomtrace the exact one.
const COUNTER_SLACK_PAGES: u64 = 2 * 32;

/// How far a cgroup's usage may move between oomtrace's reading and the kernel's: what two CPUs have charged ahead
/// (`MEMCG_CHARGE_BATCH`, 64 pages each) may be given back meanwhile.
const STOCK_SLACK_PAGES: u64 = 2 * 64;

/// One kill, with every field that the kernel's log has, compared with it.
pub(crate) fn compare_with_log(kill: &Value, log: &[String]) -> Outcome {
    let find =
        |what: &str| log.iter().find(|line| line.contains(what)).with_context(|| format!("no {what:?} in {log:#?}"));
    let report = find("oom-kill:constraint=")?;
    let invoked = find("invoked oom-killer")?;
    let line = find("Killed process")?;
    let reported = killed(line).with_context(|| line.clone())?;

    let page_kib = page_bytes() / 1024;
    let victim = &kill["victim"];
    check_eq!(victim["pid"], json!(reported.pid), "victim.pid");
    check_eq!(victim["uid"], json!(reported.uid), "victim.uid");
    check_eq!(victim["oom_score_adj"], json!(reported.oom_score_adj), "victim.oom_score_adj");
    check_eq!(victim["total_vm_bytes"], json!(reported.total_vm_kib * 1024), "victim.total_vm_bytes");
    check_eq!(victim["pgtables_bytes"], json!(reported.pgtables_kib * 1024), "victim.pgtables_bytes");
    for (field, kib) in [
        ("rss_anon_bytes", reported.anon_kib),
        ("rss_file_bytes", reported.file_kib),
        ("rss_shmem_bytes", reported.shmem_kib),
    ] {
        let ours = victim[field].as_u64().with_context(|| format!("victim.{field} is not known"))? / 1024;
        ensure!(ours.abs_diff(kib) <= COUNTER_SLACK_PAGES * page_kib, "victim.{field}: {ours} KiB is not {kib} KiB");
    }
    let name = kernel_log::value(report, ",task=");
    check_eq!(victim["comm"].as_str(), name, "victim.comm");
    let task_memcg = kernel_log::value(report, "task_memcg=");
    check_eq!(kill["cgroup"]["path"].as_str(), task_memcg, "cgroup.path");
    let constraint = kernel_log::value(report, "constraint=CONSTRAINT_");
    check_eq!(kill["constraint"].as_str(), constraint, "constraint");
    check_eq!(kill["limit"]["cgroup"].as_str(), kernel_log::value(report, "oom_memcg="), "limit.cgroup");

    let (mask, names) =
        kernel_log::value(invoked, "gfp_mask=").and_then(|mask| mask.split_once('(')).context("gfp_mask")?;
    check_eq!(kill["gfp"].as_str(), names.strip_suffix(')'), "gfp");
    check_eq!(kill["gfp_mask"], json!(u32::from_str_radix(mask.trim_start_matches("0x"), 16)?), "gfp_mask");
    check_eq!(kill["order"].to_string().as_str(), kernel_log::value(invoked, "order=").unwrap_or(""), "order");
    check_eq!(kill["trigger"]["comm"].as_str(), invoked.split(" invoked").next(), "trigger.comm");
    let message = line.split(": Killed process").next();
    check_eq!(kill["message"].as_str(), message, "message");

    if let Some(memory) = log.iter().find(|line| line.starts_with("memory: usage")) {
        let kib = |key| kernel_log::value(memory, key)?.strip_suffix("kB")?.parse::<u64>().ok();
        let (ours, reported) = (kill["limit"]["usage_bytes"].as_u64(), kib("usage ").context("no usage")?);
        let ours = ours.context("limit.usage_bytes is not known")? / 1024;
        ensure!(
            ours.abs_diff(reported) <= STOCK_SLACK_PAGES * page_kib,
            "limit.usage_bytes: {ours} KiB is not {reported} KiB"
        );
        check_eq!(kill["limit"]["limit_bytes"].as_u64(), kib("limit ").map(|kib| kib * 1024), "limit.limit_bytes");
    }
    Ok(())
}
