//! The limit that a program's runtime has of its own: of its heap.

use oomtrace_model::{Event, Pressure, PressureScope};

use super::super::{Context, case::Case};
use crate::{
    windows::{PICTURE, SECOND},
    words::{one_line, size},
};

/// How much of its limit the container used, in a sentence: the most at any time, where that could be read at its end, else what
/// was read last before it.
pub(in super::super) fn use_of(case: &Case<'_>, context: &Context<'_>) -> String {
    let Some(death) = case.deaths.last() else { return String::new() };
    let near = death.at - PICTURE..=death.at + SECOND;
    let reads = context.evidence.pictures.iter().rev().filter_map(|read| match &read.line.event {
        Event::Pressure(pressure) if near.contains(&read.at) => {
            (read.container.is_some() && read.container == death.container).then_some(&**pressure)
        }
        _ => None,
    });
    let limit_of =
        |limit: Option<u64>| limit.map_or_else(String::new, |limit| format!(" of its limit of {}", size(limit)));
    let at_end = |read: &&Pressure| read.scope == Some(PressureScope::Exit);
    if let Some((peak, limit)) =
        reads.clone().filter(at_end).find_map(|read| Some((read.peak_bytes?, read.limit_bytes)))
    {
        return format!(" It used at most {}{} at any time.", size(peak), limit_of(limit));
    }
    let last = reads.filter(|read| !at_end(read)).find_map(|read| Some((read.usage_bytes?, read.limit_bytes)));
    last.map_or_else(String::new, |(used, limit)| format!(" It used {}{} shortly before.", size(used), limit_of(limit)))
}

/// What helps where a runtime gives up at a limit of its own.
pub(in super::super) fn advice(case: &Case<'_>, context: &Context<'_>, runtime: Option<&str>) -> String {
    let heap = Heap::of(case, context);
    let limit =
        heap.limit_bytes.map_or_else(String::new, |limit| format!(" (its container's limit is {})", size(limit)));
    let how = runtime.and_then(setting_of).or_else(|| setting_of(heap.runtime()?.0));
    let how = how.unwrap_or("its heap limit, ulimit -v, or an allocation that is larger than what is left");
    format!(
        "Not the OOM killer: the program met a limit of its own, below the container's{limit}. Raise that limit ({how}), and the container's with it, or find what fills the heap.{}",
        heap.seen()
    )
}

/// What sets the limit of a runtime's heap, and what that is without.
fn setting_of(runtime: &str) -> Option<&'static str> {
    Some(match runtime {
        "Java" => "-Xmx, or -XX:MaxRAMPercentage: without either a quarter of the container's limit",
        "Node.js" => "--max-old-space-size: without it about half of the container's limit",
        ".NET" => {
            "DOTNET_GCHeapHardLimit or DOTNET_GCHeapHardLimitPercent: without either 75 % of the container's limit"
        }
        "PHP" => "memory_limit",
        _ => return None,
    })
}

/// What is known of that limit.
pub(in super::super) struct Heap<'a> {
    /// Of command lines and environments, read while the container ran.
    started_with: &'a [String],
    /// Of the specification.
    specified: &'a [String],
    limit_bytes: Option<u64>,
    /// The name of its first process.
    comm: Option<&'a str>,
}

impl<'a> Heap<'a> {
    pub(in super::super) fn of(case: &Case<'a>, context: &Context<'a>) -> Self {
        let name = case.container(context).and_then(|container| container.name);
        let record = context.names.container_record(case.pod.as_ref(), name.as_deref());
        let exits = case.deaths.iter().rev().flat_map(|death| &death.lines).filter_map(|(_, line)| match &line.event {
            Event::ProcessExit(exit) => Some(&**exit),
            _ => None,
        });
        let started_with = exits.clone().map(|exit| &exit.heap_settings[..]).find(|settings| !settings.is_empty());
        Self {
            started_with: started_with.unwrap_or_default(),
            specified: record.map_or(&[], |record| &record.heap_settings),
            limit_bytes: record.and_then(|record| record.limit_bytes),
            comm: exits.clone().find_map(|exit| exit.task.comm.as_deref()),
        }
    }

    /// Which settings were seen, and where, in sentences.
    fn seen(&self) -> String {
        let sentence = |start: &str, settings: &[String]| {
            let settings = one_line(&settings.join(" "));
            if settings.is_empty() { String::new() } else { format!(" {start} {settings}.") }
        };
        sentence("Its processes were started with (command line and environment, read while it ran)", self.started_with)
            + &sentence("Its specification has", self.specified)
    }

    /// The runtime, and what that is concluded from.
    fn runtime(&self) -> Option<(&'static str, &'static str)> {
        let by_name = match self.comm {
            Some("java") => Some("Java"),
            Some("node" | "nodejs") => Some("Node.js"),
            Some("dotnet") => Some(".NET"),
            Some("php" | "php-fpm") => Some("PHP"),
            _ => None,
        };
        let settings = || self.started_with.iter().chain(self.specified);
        let has = |words: &[&str]| settings().any(|setting| words.iter().any(|word| setting.contains(word)));
        let by_settings = || match () {
            () if has(&["-Xmx", "-Xms", "-XX:"]) => Some("Java"),
            () if has(&["--max-old-space-size", "--max_old_space_size", "--max-semi-space-size"]) => Some("Node.js"),
            () if has(&["DOTNET_", "COMPlus_"]) => Some(".NET"),
            () if has(&["memory_limit", "PHP_MEMORY_LIMIT"]) => Some("PHP"),
            () => None,
        };
        let by_name = by_name.map(|runtime| (runtime, "by the name of its first process"));
        by_name.or_else(|| Some((by_settings()?, "by the settings of its heap")))
    }

    /// Where a program crashed, and its log is not at hand.
    pub(in super::super) fn of_crash(&self) -> String {
        let runtime = self.runtime().and_then(|(runtime, by)| {
            let how = setting_of(runtime)?;
            Some(format!(" It is a program of {runtime} ({by}), whose heap has a limit of its own ({how})."))
        });
        runtime.unwrap_or_default() + &self.seen()
    }
}
