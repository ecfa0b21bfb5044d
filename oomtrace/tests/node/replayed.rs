//! The kernel's choice, made again from the tasks that its reports list.

use std::fs;

use oomtrace::node::ranking::{ProcessUse, oom_order};

use crate::{Outcome, folder::data};

/// A report: the pages that it weighs by, its tasks, and who was killed.
#[derive(Default)]
struct Report {
    total_pages: u64,
    swap_pages: u64,
    tasks: Vec<(u64, ProcessUse)>,
}

/// The number that stands before some words.
fn before(line: &str, words: &str) -> Option<u64> {
    line.split_once(words)?.0.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse().ok()
}

/// The number that stands behind some words.
fn behind(line: &str, words: &str) -> Option<u64> {
    let rest = line.split_once(words)?.1.trim_start();
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Report {
    /// `[  pid  ]   uid  tgid total_vm      rss [rss_anon rss_file rss_shmem] pgtables_bytes swapents oom_score_adj name`
    fn task(&mut self, line: &str) -> Option<()> {
        let (head, rest) = line.rsplit_once(']')?;
        let pid = head.rsplit_once('[')?.1.trim().parse().ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<i64>().ok();
        // Kernels from 6.8 on list the three kinds of resident pages, too.
        let behind_rss = if number(9).is_some() { 7 } else { 4 };
        let natural = |place| number(place).and_then(|number| u64::try_from(number).ok());
        let task = ProcessUse {
            rss_pages: natural(3)?,
            page_tables_bytes: natural(behind_rss)?,
            swap_pages: natural(behind_rss + 1)?,
            oom_score_adj: i32::try_from(number(behind_rss + 2)?).ok()?,
        };
        self.tasks.push((pid, task));
        Some(())
    }

    fn read(&mut self, line: &str) {
        let limit = line.contains("memory: usage").then(|| behind(line, "limit ")).flatten();
        if let Some(kib) = limit {
            self.total_pages = kib / 4;
        }
        // Of a node-wide report: `N pages RAM`, `N pages reserved`, `Total swap = NkB`.
        if let Some(pages) = before(line, " pages RAM") {
            self.total_pages = pages;
        }
        if let Some(pages) = before(line, " pages reserved") {
            self.total_pages = self.total_pages.saturating_sub(pages);
        }
        if let Some(kib) = behind(line, "Total swap = ") {
            self.swap_pages = kib / 4;
        }
        let _ = self.task(line);
    }

    /// The process that the kernel has to choose.
    fn choice(&self) -> Option<u64> {
        let pages = self.total_pages + self.swap_pages;
        let points: Vec<_> = self.tasks.iter().map(|(_, task)| task.points(pages, 4096)).collect();
        oom_order(&points).first().map(|place| self.tasks[*place].0)
    }
}

#[test]
fn the_process_with_most_points_is_the_one_that_the_kernel_killed() -> Outcome {
    let mut compared = 0;
    for entry in fs::read_dir(data("kernel-log"))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !(name.ends_with("dmesg.txt") || name.starts_with(['5', '6', '7']) || name.starts_with("full-")) {
            continue;
        }
        let mut report = Report::default();
        for line in fs::read_to_string(&path)?.lines() {
            if line.contains("invoked oom-killer") {
                report = Report::default();
            }
            report.read(line);
            // `oom-kill:constraint=…,task=NAME,pid=N,uid=0`
            let Some(chosen) = line.contains("oom-kill:constraint=").then(|| behind(line, ",pid=")).flatten() else {
                continue;
            };
            if report.tasks.is_empty() {
                continue;
            }
            assert_eq!(report.choice(), Some(chosen), "{name}: {line}");
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared} reports were compared");
    Ok(())
}
