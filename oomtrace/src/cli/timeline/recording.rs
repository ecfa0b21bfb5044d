//! Recordings: events as `oomtrace run` printed them.

use std::{collections::HashSet, path::PathBuf};

use tracing::{info, warn};

use super::{input, what::What};
use crate::event::{Event, Line, Phase};

/// So many bytes show what a file is.
const SAMPLE_BYTES: u64 = 1 << 16;

/// All events of all recordings, those files first that begin first. A line that is none is said and passed over; a file without
/// any is an error.
pub(super) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Line>> {
    let mut files: Vec<Vec<Line>> = Vec::new();
    for path in paths {
        let mut recorded = Vec::new();
        let name = path.display();
        let mut input = input::open(path)?;
        let start = input.peek(path, SAMPLE_BYTES)?;
        let (mut events, mut bad, mut first_bad) = (0_u64, 0_u64, None);
        let lines = input::lines(path, &mut input, |number, text| {
            if text.iter().all(u8::is_ascii_whitespace) {
                return;
            }
            if let Ok(line) = serde_json::from_slice::<Line>(text) {
                events += 1;
                // What a timeline reported before is not evidence; that oomtrace was started tells runs apart.
                let is_event = match &line.event {
                    Event::Incident(_) => false,
                    Event::Status(status) => status.phase == Phase::Started,
                    _ => true,
                };
                if is_event {
                    recorded.push(line);
                }
            } else {
                bad += 1;
                first_bad.get_or_insert(number);
            }
        })?;
        if let Some(first) = first_bad {
            if events == 0 {
                anyhow::bail!("{name}: {}", What::of(&start).instead_of_recording());
            }
            warn!("{name}: {bad} lines are no events and are passed over, the first of them line {first}");
        }
        info!("{name}: recording{}, {events} events in {lines} lines", input.packing);
        files.push(recorded);
    }
    files.sort_by(|a, b| a.first().map(|line| &line.ts).cmp(&b.first().map(|line| &line.ts)));
    let mut recorded = files.concat();
    if paths.len() > 1 {
        // The same run, printed and recorded.
        let mut seen = HashSet::new();
        recorded.retain(|line| seen.insert((line.node.clone(), line.ts.clone(), line.seq)));
    }
    Ok(recorded)
}
