//! The forms of the kernel's files about memory.

use std::{collections::HashMap, num::ParseIntError, str::FromStr};

use crate::event::Stall;

/// `name value` on each line: `memory.stat`, `memory.events`, `memory.oom_control`.
///
/// A dozen of some fifty values are asked for: looking for them in the text takes less than a table of all.
#[derive(Debug, Default)]
pub(crate) struct FlatKeyed(String);

impl FlatKeyed {
    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        let of_name = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        self.0.lines().find_map(of_name)
    }
}

impl FromStr for FlatKeyed {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for (_, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            value.trim().parse::<u64>()?;
        }
        Ok(Self(text.to_owned()))
    }
}

/// `Name:   123 kB`: `/proc/meminfo`. In bytes.
#[derive(Debug, Default)]
pub(crate) struct MemInfo(HashMap<String, u64>);

impl MemInfo {
    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    pub(crate) fn less(&self, all: &str, part: &str) -> Option<u64> {
        Some(self.get(all)?.saturating_sub(self.get(part)?))
    }
}

impl FromStr for MemInfo {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `HugePages_Total` and its like are counts, and have no unit.
        let sizes = text.lines().filter_map(|line| line.strip_suffix(" kB")?.split_once(':'));
        sizes
            .map(|(name, value)| Ok((name.to_owned(), value.trim().parse::<u64>()?.saturating_mul(1024))))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Pressure stall information: `psi_show`, `kernel/sched/psi.c`.
#[derive(Debug)]
pub(crate) struct Psi(pub(crate) Stall);

/// Why it is not that.
#[derive(Debug, thiserror::Error)]
#[error("pressure has two lines, `some avg10=… avg60=… avg300=… total=…` and the same with `full`")]
pub(crate) struct NotPsi;

impl FromStr for Psi {
    type Err = NotPsi;

    fn from_str(text: &str) -> Result<Self, NotPsi> {
        let line = |kind: &str| {
            let fields = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).ok_or(NotPsi)?;
            let field = |name: &str| {
                let mut fields = fields.split_ascii_whitespace().filter_map(|field| field.split_once('='));
                fields.find(|(known, _)| *known == name).map(|(_, value)| value).ok_or(NotPsi)
            };
            let average = |name| field(name)?.parse::<f64>().map_err(|_| NotPsi);
            Ok((average("avg10")?, average("avg60")?, field("total")?.parse::<u64>().map_err(|_| NotPsi)?))
        };
        let (some_avg10, some_avg60, some_total_us) = line("some")?;
        let (full_avg10, full_avg60, full_total_us) = line("full")?;
        Ok(Self(Stall { some_avg10, some_avg60, full_avg10, full_avg60, some_total_us, full_total_us }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_node_are_reported_in_bytes() {
        let meminfo: MemInfo =
            "MemTotal:        2048 kB\nMemFree:          512 kB\nHugePages_Total:       3\n".parse().expect("a size");
        assert_eq!((meminfo.get("MemTotal"), meminfo.less("MemTotal", "MemFree")), (Some(2 << 20), Some(3 << 19)));
        assert_eq!(meminfo.get("HugePages_Total"), None);
    }

    #[test]
    fn what_is_cut_or_no_number_is_refused() {
        assert!("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n".parse::<Psi>().is_err());
        assert!("oom_kill many\n".parse::<FlatKeyed>().is_err());
        assert!("MemTotal: x kB\n".parse::<MemInfo>().is_err());
    }
}
