//! What overcommit accounting grants: `__vm_enough_memory`, `mm/util.c`.

use std::fs;

/// The limit that a refusal was measured by, bytes; none where there is none, or it cannot be read.
pub(super) fn limit_bytes() -> Option<u64> {
    let policy = fs::read_to_string("/proc/sys/vm/overcommit_memory").ok()?;
    limit_of(policy.trim(), &fs::read_to_string("/proc/meminfo").ok()?)
}

/// Never more than `CommitLimit` for all processes together (policy 2), or never more than RAM and swap at once (policy 0, since
/// 5.1; roughly so before). Policy 1 refuses nothing.
fn limit_of(policy: &str, meminfo: &str) -> Option<u64> {
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    match policy {
        "0" => bytes("MemTotal")?.checked_add(bytes("SwapTotal")?),
        "2" => bytes("CommitLimit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_says_which_limit_it_is() {
        let meminfo =
            "MemTotal:        1000 kB\nSwapTotal:        24 kB\nCommitLimit:      512 kB\nCommitted_AS: 9 kB\n";
        assert_eq!(limit_of("0", meminfo), Some(1024 << 10));
        assert_eq!(limit_of("2", meminfo), Some(512 << 10));
        assert_eq!(limit_of("1", meminfo), None);
        assert_eq!(limit_of("2", "CommitLimit: lots\n"), None);
    }
}
