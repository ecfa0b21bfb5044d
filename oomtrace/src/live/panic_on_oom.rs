//! `vm.panic_on_oom`: whether the node panics where it would kill. Nothing that is reported then is sure to get out, so the status
//! tells the setting itself.

use std::fs;

/// The setting, where it can be read: 0, 1 or 2.
pub(super) fn read() -> Option<u32> {
    fs::read_to_string("/proc/sys/vm/panic_on_oom").ok()?.trim().parse().ok()
}

/// What a setting takes away.
pub(super) fn degrades(setting: u32) -> Option<String> {
    let when = match setting {
        0 => return None,
        1 => "the node as a whole",
        _ => "the node or any of its cgroups",
    };
    Some(format!(
        "vm.panic_on_oom is {setting}: the kernel panics instead of killing where {when} is out of memory, and what oomtrace says of it \
         may not get out; `sysctl vm.panic_on_oom=0` lets it kill"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_setting_that_panics_is_worth_a_word() {
        assert_eq!(degrades(0), None);
        assert!(degrades(1).is_some_and(|text| text.contains("vm.panic_on_oom is 1") && text.contains("as a whole")));
        assert!(degrades(2).is_some_and(|text| text.contains("cgroups")));
    }
}
