//! What tracefs says about the running kernel's tracepoints: offsets of fields, and names of flags.

use std::{fs, path::PathBuf};

/// Where tracefs is mounted, newer place first.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The format file of a tracepoint, where tracefs is mounted and has it.
#[must_use]
pub fn format(category: &str, name: &str) -> Option<String> {
    MOUNTS.iter().find_map(|mount| {
        fs::read_to_string([mount, "events", category, name, "format"].iter().collect::<PathBuf>()).ok()
    })
}

/// The byte offset of a field in a tracepoint's record, from its format file.
#[must_use]
pub fn field_offset(format: &str, field: &str) -> Option<u32> {
    format.lines().filter_map(|line| line.trim().strip_prefix("field:")).find_map(|line| {
        let mut parts = line.split(';').map(str::trim);
        let name = parts.next()?.rsplit([' ', '*']).next()?;
        let offset = parts.find_map(|part| part.strip_prefix("offset:"))?;
        (name.split('[').next() == Some(field)).then(|| offset.parse().ok())?
    })
}

/// The names of the bits of a mask, as the running kernel prints them: from the `__print_flags` of a tracepoint's
/// format, since the bits of `gfp_t` move from version to version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagNames(Vec<(u64, String)>);

impl FlagNames {
    /// The names of `gfp_t`'s flags on this machine; none where tracefs is not mounted.
    #[must_use]
    pub fn of_gfp() -> Self {
        [("vmscan", "mm_vmscan_memcg_reclaim_begin"), ("kmem", "mm_page_alloc")]
            .iter()
            .find_map(|(category, name)| format(category, name))
            .map(|format| Self::parse(&format))
            .unwrap_or_default()
    }

    /// Reads the first `__print_flags` of a format file.
    #[must_use]
    pub fn parse(format: &str) -> Self {
        let table = format.split_once("__print_flags(").map_or("", |(_, table)| table);
        let mut names = Vec::new();
        // Entries are `{expression, "NAME"}`; the first thing that is not one ends the table.
        for entry in table.split('{').skip(1) {
            let Some((expression, rest)) = entry.split_once(", \"") else { break };
            let (Some(mask), Some((name, _))) = (Expression(expression).value(), rest.split_once('"')) else { break };
            if mask != 0 {
                names.push((mask, name.to_owned()));
            }
        }
        Self(names)
    }

    /// A mask by its flags' names, as the kernel's `%pGg` prints it (`format_flags`, `lib/vsprintf.c`).
    #[must_use]
    pub fn describe(&self, mask: u64) -> String {
        let mut rest = mask;
        let mut names: Vec<_> = Vec::new();
        for (flag, name) in &self.0 {
            if rest & flag == *flag {
                names.push(name.clone());
                rest &= !flag;
            }
        }
        if rest != 0 {
            names.push(format!("{rest:#x}"));
        }
        if names.is_empty() { "none".to_owned() } else { names.join("|") }
    }
}

/// A constant expression of C as format files hold it: integers, casts, `~`, `<<`, `&`, `|` and parentheses.
struct Expression<'a>(&'a str);

impl Expression<'_> {
    fn value(mut self) -> Option<u64> {
        let value = self.or()?;
        self.0.trim().is_empty().then_some(value)
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn or(&mut self) -> Option<u64> {
        let mut value = self.and()?;
        while self.take("|") {
            value |= self.and()?;
        }
        Some(value)
    }

    fn and(&mut self) -> Option<u64> {
        let mut value = self.shift()?;
        while self.take("&") {
            value &= self.shift()?;
        }
        Some(value)
    }

    fn shift(&mut self) -> Option<u64> {
        let mut value = self.unary()?;
        while self.take("<<") {
            value = value.checked_shl(u32::try_from(self.unary()?).ok()?)?;
        }
        Some(value)
    }

    fn unary(&mut self) -> Option<u64> {
        if self.take("~") {
            return Some(!self.unary()?);
        }
        if self.take("(") {
            // A cast holds a type's name and nothing else.
            if let Some((inside, rest)) = self.0.split_once(')')
                && inside.trim().starts_with(|first: char| first.is_ascii_alphabetic())
            {
                self.0 = rest;
                return self.unary();
            }
            let value = self.or()?;
            return self.take(")").then_some(value);
        }
        let text = self.0.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        self.0 = rest;
        let number = number.trim_end_matches(['u', 'U', 'l', 'L']);
        match number.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use oomtrace_common::layout::{ABSENT_OFFSET, MarkVictimFormat};

    use super::*;

    /// Format files of real kernels.
    macro_rules! real_format {
        ($name:literal) => {
            include_str!(concat!("../../tests/data/tracepoint-formats/", $name))
        };
    }

    #[test]
    fn an_older_kernel_gives_only_the_thread_id_of_a_victim() {
        let format = MarkVictimFormat::resolve(|name| field_offset(real_format!("5.10.oom.mark_victim"), name));
        assert_eq!(format, MarkVictimFormat { pid: 8, ..MarkVictimFormat::UNKNOWN });
    }

    #[test]
    fn a_backport_to_6_1_gives_sizes_too() {
        let format = MarkVictimFormat::resolve(|name| field_offset(real_format!("6.1.oom.mark_victim"), name));
        assert_eq!((format.comm, format.total_vm, format.oom_score_adj), (12, 16, 64));
        assert_ne!(format.uid, ABSENT_OFFSET);
    }

    #[test]
    fn the_same_flag_has_another_bit_on_another_kernel_and_the_same_name() {
        let old = FlagNames::parse(real_format!("5.10.vmscan.mm_vmscan_memcg_reclaim_begin"));
        let new = FlagNames::parse(real_format!("7.3.vmscan.mm_vmscan_memcg_reclaim_begin"));
        // What these kernels themselves printed for these masks.
        assert_eq!(old.describe(0x0010_0dca), "GFP_HIGHUSER_MOVABLE|__GFP_ZERO");
        assert_eq!(old.describe(0xcc0), "GFP_KERNEL");
        assert_eq!(new.describe(0xcc0), "GFP_KERNEL");
        assert_eq!(new.describe(0x0014_0dca), "GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP");
        assert_eq!(old.describe(1 << 31), "0x80000000");
        assert_eq!(old.describe(0), "none");
    }

    #[test]
    fn a_format_that_is_no_format_names_no_flags() {
        for text in [
            "",
            "print fmt: \"\"",
            "__print_flags(x, \"|\", {(((1, \"A\"}",
            "__print_flags({99999999999999999999, \"B\"}",
        ] {
            assert_eq!(FlagNames::parse(text), FlagNames::default(), "{text}");
        }
        assert_eq!(FlagNames::default().describe(0xcc0), "0xcc0");
    }
}
