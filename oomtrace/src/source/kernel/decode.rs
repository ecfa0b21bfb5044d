//! Records from the ring buffer, out of their bytes. Those that take no other to be an event are here, too, each in a file.

mod limit_changes;
mod panics;

use std::fmt::Debug;

use bytemuck::{Pod, Zeroable};
use bytes::Bytes;
use oomtrace_common::record::{
    COMMAND_LINE_LEN, Candidate, CgroupLife, ChargeFailure, CommandLine, Decision, DecisionEnd, Exit, Header,
    LONG_PATH_LEN, LimitChanged, LongPath, Mark, PanicAhead, PathHead, Reaping, Refusal, SHORT_PATH_LEN, ShortPath,
    Signal, UnderOom, tag,
};

use super::{machine::Machine, paths::Paths};
use crate::event::Observation;

/// A record that is an event by itself.
pub trait ToEvent: Debug + Send {
    /// The event; nothing where nobody needs to know of it.
    fn to_event(&self, paths: &Paths, machine: &Machine) -> Option<Observation>;
}

/// One record.
#[derive(Debug)]
pub enum Record {
    /// The kernel decided on a victim.
    Decision(Box<Decision>),
    /// A process was marked.
    Mark(Box<Mark>),
    /// A decision is carried out.
    DecisionEnd(DecisionEnd),
    /// A process that was weighed for a decision.
    Candidate(Box<Candidate>),
    /// A process ended.
    Exit(Box<Exit>),
    /// A signal was delivered.
    Signal(Box<Signal>),
    /// A cgroup hit its limit.
    ChargeFailure(Box<ChargeFailure>),
    /// A process was refused an allocation.
    Refusal(Box<Refusal>),
    /// A task waits instead of being killed, or does no more.
    UnderOom(Box<UnderOom>),
    /// The reaper works on a victim.
    Reaping(Reaping),
    /// What the process that is about to be marked was started as.
    CommandLine(Box<CommandLine>),
    /// One that takes no other to be an event.
    Alone(Box<dyn ToEvent>),
    /// A cgroup's path.
    Path(CgroupPath),
    /// A cgroup was made; its path came before.
    CgroupMade(u64),
    /// A cgroup was removed.
    CgroupGone(u64),
}

/// A cgroup's path, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// The cgroup.
    pub id: u64,
    /// From the root, `/`-separated; begins with `…` where the cgroup lies deeper than could be read.
    pub path: String,
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the record's type has.
    #[error("a record of {len} bytes is too short: {what} has {expected}")]
    TooShort {
        /// The bytes there are.
        len: usize,
        /// What they should have been.
        what: &'static str,
        /// The bytes it takes.
        expected: usize,
    },
    /// No such type of record.
    #[error("a record has the unknown tag {0}; are the probes of another version?")]
    UnknownTag(u32),
}

/// Reads one record.
///
/// # Errors
///
/// Fails where the bytes are no record.
pub fn decode(bytes: &Bytes) -> Result<Record, DecodeError> {
    let header: Header = read(bytes, "a header")?;
    Ok(match header.tag {
        tag::DECISION => Record::Decision(Box::new(read(bytes, "a decision")?)),
        tag::MARK => Record::Mark(Box::new(read(bytes, "a mark")?)),
        tag::DECISION_END => Record::DecisionEnd(read(bytes, "the end of a decision")?),
        tag::CANDIDATE => Record::Candidate(Box::new(read(bytes, "a candidate")?)),
        tag::EXIT => Record::Exit(Box::new(read(bytes, "an exit")?)),
        tag::SIGNAL => Record::Signal(Box::new(read(bytes, "a signal")?)),
        tag::CHARGE_FAILURE => Record::ChargeFailure(Box::new(read(bytes, "a charge failure")?)),
        tag::REFUSAL => Record::Refusal(Box::new(read(bytes, "a refusal")?)),
        tag::UNDER_OOM => Record::UnderOom(Box::new(read(bytes, "a wait")?)),
        tag::REAPING => Record::Reaping(read(bytes, "a step of the reaper")?),
        tag::PANIC_AHEAD => Record::Alone(Box::new(read::<PanicAhead>(bytes, "a coming panic")?)),
        tag::COMMAND_LINE => Record::CommandLine(Box::new(read(bytes, "a command line")?)),
        tag::LIMIT_CHANGED => Record::Alone(Box::new(read::<LimitChanged>(bytes, "a limit's change")?)),
        tag::SHORT_PATH => {
            let record: ShortPath = read(bytes, "a short path")?;
            Record::Path(path(record.path, &record.names[..SHORT_PATH_LEN]))
        }
        tag::LONG_PATH => {
            let record: LongPath = read(bytes, "a long path")?;
            Record::Path(path(record.path, &record.names[..LONG_PATH_LEN]))
        }
        tag::CGROUP_MADE => Record::CgroupMade(read::<CgroupLife>(bytes, "a cgroup's beginning")?.cgroup_id),
        tag::CGROUP_GONE => Record::CgroupGone(read::<CgroupLife>(bytes, "a cgroup's end")?.cgroup_id),
        unknown => return Err(DecodeError::UnknownTag(unknown)),
    })
}

fn read<T: Pod + Zeroable>(bytes: &Bytes, what: &'static str) -> Result<T, DecodeError> {
    // The kernel rounds a record's room up to 8 bytes, so there may be more.
    bytes.get(..size_of::<T>()).map(bytemuck::pod_read_unaligned).ok_or(DecodeError::TooShort {
        len: bytes.len(),
        what,
        expected: size_of::<T>(),
    })
}

/// A process's arguments, with spaces between them; nothing where there are none.
#[must_use]
pub fn command_line(text: &[u8]) -> Option<String> {
    let text = &text[..text.len().min(COMMAND_LINE_LEN)];
    let arguments: Vec<_> = text.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let line = arguments.join(" ");
    let line = line.trim_end();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Names from the cgroup up to the root make a path from the root down.
fn path(head: PathHead, names: &[u8]) -> CgroupPath {
    let filled = names.get(..head.len as usize).unwrap_or(names);
    let mut path = if head.truncated == 0 { String::new() } else { "…".to_owned() };
    let names: Vec<_> = filled.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(name));
    }
    if path.is_empty() {
        path.push('/');
    }
    CgroupPath { id: head.cgroup_id, path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short_path(names: &[u8], truncated: u32) -> Bytes {
        let mut record = ShortPath::zeroed();
        record.path.header.tag = tag::SHORT_PATH;
        record.path.cgroup_id = 42;
        record.path.len = u32::try_from(names.len()).unwrap_or(u32::MAX);
        record.path.truncated = truncated;
        record.names[..names.len()].copy_from_slice(names);
        Bytes::copy_from_slice(bytemuck::bytes_of(&record))
    }

    fn decoded_path(bytes: &Bytes) -> Option<String> {
        match decode(bytes) {
            Ok(Record::Path(CgroupPath { id: 42, path })) => Some(path),
            _ => None,
        }
    }

    #[test]
    fn a_path_is_read_from_the_root_down() {
        assert_eq!(decoded_path(&short_path(b"ctr\0pod1\0kubepods\0", 0)).as_deref(), Some("/kubepods/pod1/ctr"));
        assert_eq!(decoded_path(&short_path(b"", 0)).as_deref(), Some("/"));
        assert_eq!(decoded_path(&short_path(b"ctr\0pod1\0", 1)).as_deref(), Some("…/pod1/ctr"));
        assert_eq!(decoded_path(&short_path(b"\xff\n\0", 0)).as_deref(), Some("/\u{fffd}\n"));
    }

    #[test]
    fn a_record_that_is_cut_short_is_an_error_at_every_length() {
        for (tag, size) in [
            (tag::DECISION, size_of::<Decision>()),
            (tag::MARK, size_of::<Mark>()),
            (tag::DECISION_END, size_of::<DecisionEnd>()),
            (tag::CANDIDATE, size_of::<Candidate>()),
            (tag::EXIT, size_of::<Exit>()),
            (tag::SIGNAL, size_of::<Signal>()),
            (tag::CHARGE_FAILURE, size_of::<ChargeFailure>()),
            (tag::REFUSAL, size_of::<Refusal>()),
            (tag::UNDER_OOM, size_of::<UnderOom>()),
            (tag::REAPING, size_of::<Reaping>()),
            (tag::PANIC_AHEAD, size_of::<PanicAhead>()),
            (tag::COMMAND_LINE, size_of::<CommandLine>()),
            (tag::LIMIT_CHANGED, size_of::<LimitChanged>()),
            (tag::SHORT_PATH, size_of::<ShortPath>()),
            (tag::LONG_PATH, size_of::<LongPath>()),
        ] {
            let mut bytes = vec![0; size];
            bytes[..4].copy_from_slice(&tag.to_ne_bytes());
            assert!(decode(&Bytes::from(bytes.clone())).is_ok());
            for len in 0..size {
                let cut = decode(&Bytes::copy_from_slice(&bytes[..len]));
                assert!(matches!(cut, Err(DecodeError::TooShort { .. })), "tag {tag}, {len} bytes: {cut:?}");
            }
        }
    }

    #[test]
    fn arguments_have_spaces_between_them() {
        assert_eq!(command_line(b"java\0-Xmx1g\0-jar\0app.jar\0").as_deref(), Some("java -Xmx1g -jar app.jar"));
        assert_eq!(command_line(b"cut\0sho").as_deref(), Some("cut sho"));
        assert_eq!((command_line(b""), command_line(b"\0\0")), (None, None));
        assert_eq!(command_line(&[b'x'; 999]).map(|line| line.len()), Some(COMMAND_LINE_LEN));
    }

    #[test]
    fn an_unknown_tag_is_an_error_that_names_it() {
        let bytes = Bytes::from([99_u32.to_ne_bytes().as_slice(), &[0; 60]].concat());
        assert!(matches!(decode(&bytes), Err(DecodeError::UnknownTag(99))));
    }

    #[test]
    fn lengths_that_lie_do_not_reach_beyond_the_record() {
        let mut record = ShortPath::zeroed();
        record.path.header.tag = tag::SHORT_PATH;
        record.path.len = u32::MAX;
        assert!(decode(&Bytes::copy_from_slice(bytemuck::bytes_of(&record))).is_ok());
    }
}
