//! The table of tasks that could have been killed: `dump_tasks`, `mm/oom_kill.c`.

use std::cmp::Ordering;

use super::pieces;

/// A row: a process that could have been killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The id of the first of its threads that is alive.
    pub pid: u32,
    /// The process's id.
    pub tgid: u32,
    /// The real user id in the initial user namespace.
    pub uid: Option<u32>,
    /// Its name.
    pub comm: String,
    /// Address space, in pages of that machine: the report does not tell their size.
    pub total_vm_pages: u64,
    /// Resident memory.
    pub rss_pages: u64,
    /// Of it anonymous. In 6.12, not in 6.6; the two below as well.
    pub rss_anon_pages: Option<u64>,
    /// Of it file-backed.
    pub rss_file_pages: Option<u64>,
    /// Of it shared.
    pub rss_shmem_pages: Option<u64>,
    /// Page tables, in bytes. From 4.15.
    pub pgtables_bytes: Option<u64>,
    /// Memory swapped out (`swapents`).
    pub swap_pages: Option<u64>,
    /// -1000 (never kill) to 1000 (kill first).
    pub oom_score_adj: i32,
}

/// How many rows are kept. A report of the node has one for each process.
pub(super) const MOST_CANDIDATES: usize = 1024;

impl Candidate {
    /// By what the kernel compares: `oom_badness`. `total_pages` is RAM and swap, or the limit, as far as it is known. Used
    /// to choose which rows are kept, so a guess at the size of a page is good enough.
    fn badness(&self, total_pages: u64) -> i128 {
        const PAGE: u64 = 4096;
        let size = u128::from(self.rss_pages)
            + u128::from(self.swap_pages.unwrap_or(0))
            + u128::from(self.pgtables_bytes.unwrap_or(0) / PAGE);
        let adjustment = i128::from(self.oom_score_adj) * i128::from(total_pages) / 1000;
        i128::try_from(size).unwrap_or(i128::MAX / 2) + adjustment
    }
}

/// Keeps the most likely rows of twice as many; in the order of the table.
pub(super) fn prune(candidates: &mut Vec<Candidate>, total_pages: u64) {
    if candidates.len() < 2 * MOST_CANDIDATES {
        return;
    }
    keep_most(candidates, total_pages);
}

/// The same at the end of the table.
pub(super) fn keep_most(candidates: &mut Vec<Candidate>, total_pages: u64) {
    if candidates.len() <= MOST_CANDIDATES {
        return;
    }
    let mut badness: Vec<i128> = candidates.iter().map(|candidate| candidate.badness(total_pages)).collect();
    badness.sort_unstable_by(|a, b| b.cmp(a));
    let least = badness[MOST_CANDIDATES - 1];
    // Of those that are as likely as the last, the first.
    let mut of_least = badness[..MOST_CANDIDATES].iter().filter(|badness| **badness == least).count();
    candidates.retain(|candidate| match candidate.badness(total_pages).cmp(&least) {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => {
            let keep = of_least > 0;
            of_least = of_least.saturating_sub(1);
            keep
        }
    });
}

/// The columns before the name, by the table's heading: they differ between versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns(Vec<Column>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Uid,
    Tgid,
    TotalVm,
    Rss,
    RssAnon,
    RssFile,
    RssShmem,
    PageTables,
    Swap,
    Adjustment,
    Other,
}

impl Columns {
    /// `[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (pid, names) = text.strip_prefix('[')?.split_once(']')?;
        let names = names.trim_end().strip_suffix(" name").filter(|_| pid.trim() == "pid")?;
        let columns = names.split_ascii_whitespace().map(|name| match name {
            "uid" => Column::Uid,
            "tgid" => Column::Tgid,
            "total_vm" => Column::TotalVm,
            "rss" => Column::Rss,
            "rss_anon" => Column::RssAnon,
            "rss_file" => Column::RssFile,
            "rss_shmem" => Column::RssShmem,
            "pgtables_bytes" => Column::PageTables,
            "swapents" => Column::Swap,
            "oom_score_adj" => Column::Adjustment,
            // Before 4.15: `nr_ptes`, `nr_pmds`, `nr_puds`.
            _ => Column::Other,
        });
        let columns: Vec<_> = columns.collect();
        (columns.len() <= 32 && columns.contains(&Column::TotalVm)).then_some(Self(columns))
    }

    /// `[    108]     0   108    48894    48689   425984        0             0 tail`. All columns are numbers, and one
    /// space is before the name, which may be anything: also blank, and further numbers.
    pub(super) fn row(&self, text: &str) -> Option<Candidate> {
        let (pid, mut rest) = text.strip_prefix('[')?.split_once(']')?;
        let mut row = Candidate { pid: pid.trim_start().parse().ok()?, ..Candidate::default() };
        for column in &self.0 {
            rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
            let end = rest.find(' ')?;
            let (value, after) = rest.split_at(end);
            let number = || value.parse::<u64>().ok();
            match column {
                Column::Uid => row.uid = Some(pieces::uid(value)?),
                Column::Tgid => row.tgid = value.parse().ok()?,
                Column::TotalVm => row.total_vm_pages = number()?,
                Column::Rss => row.rss_pages = number()?,
                Column::RssAnon => row.rss_anon_pages = Some(number()?),
                Column::RssFile => row.rss_file_pages = Some(number()?),
                Column::RssShmem => row.rss_shmem_pages = Some(number()?),
                Column::PageTables => row.pgtables_bytes = Some(number()?),
                Column::Swap => row.swap_pages = Some(number()?),
                Column::Adjustment => row.oom_score_adj = value.parse().ok()?,
                Column::Other => drop(number()?),
            }
            rest = after;
        }
        let comm = rest.strip_prefix(' ')?;
        // A console may put blanks behind it.
        let comm =
            if pieces::is_comm(comm) { comm } else { Some(comm.trim_end()).filter(|comm| pieces::is_comm(comm))? };
        Some(Candidate { comm: comm.to_owned(), ..row })
    }
}
