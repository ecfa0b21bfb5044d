//! Recordings: events as `oomtrace run` printed them.

use std::path::PathBuf;

use anyhow::Context as _;
use tracing::{info, warn};

use super::input;
use crate::event::{Event, Line};

/// All events of all recordings. A line that is none is said and passed over; a file without any is an error.
pub(super) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Line>> {
    let mut recorded = Vec::new();
    for path in paths {
        let name = path.display();
        let mut input = input::open(path)?;
        let (mut events, mut bad, mut first_bad) = (0_u64, 0_u64, None);
        let lines = input::lines(path, &mut input, |number, text| {
            if text.iter().all(u8::is_ascii_whitespace) {
                return;
            }
            match serde_json::from_slice::<Line>(text) {
                Ok(line) => {
                    events += 1;
                    // What a timeline told before is not evidence.
                    if !matches!(line.event, Event::Incident(_) | Event::Status(_)) {
                        recorded.push(line);
                    }
                }
                Err(error) => {
                    bad += 1;
                    first_bad.get_or_insert_with(|| format!("line {number}: {error}"));
                }
            }
        })?;
        if let Some(first) = first_bad {
            if events == 0 {
                return Err(anyhow::anyhow!(first)).with_context(|| {
                    format!("{name} is no recording: it needs JSON lines of `oomtrace run --record` (a kernel log is given with --kernel-log, a kubelet's with --kubelet-log)")
                });
            }
            warn!("{name}: {bad} lines are no events and are passed over; {first}");
        }
        info!("{name}: recording{}, {events} events in {lines} lines", input.packing);
    }
    Ok(recorded)
}
