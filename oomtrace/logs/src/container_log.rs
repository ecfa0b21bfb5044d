//! A container's own log: the line near its end in which its program says that it ran out of memory.
//!
//! A runtime that gives up at a limit of its own, below the container's, ends with a code like any other failure, and the
//! kernel has nothing to say. The last lines of its log are all there is.

use jiff::Timestamp;
use oomtrace_model::snapshot::Words;

/// Of a line, so many characters are kept.
const MOST_CHARS: usize = 200;

/// What runtimes write, and which they are.
const WORDS: [(&str, &str); 16] = [
    ("java.lang.OutOfMemoryError", "Java"),
    ("OutOfMemoryError", "Java"),
    ("System.OutOfMemoryException", ".NET"),
    ("OutOfMemoryException", ".NET"),
    ("JavaScript heap out of memory", "Node.js"),
    ("Reached heap limit", "Node.js"),
    ("fatal error: out of memory", "Go"),
    ("fatal error: runtime: out of memory", "Go"),
    ("runtime: out of memory", "Go"),
    ("std::bad_alloc", "C++"),
    ("bad_alloc", "C++"),
    ("MemoryError", "Python"),
    ("NoMemoryError", "Ruby"),
    ("Allowed memory size of", "PHP"),
    ("Cannot allocate memory", "the C library"),
    ("virtual memory exhausted", "the C library"),
];
/// Rust's `handle_alloc_error`: `memory allocation of 8589934592 bytes failed`.
const RUST: (&str, &str) = ("memory allocation of ", " bytes failed");

/// The last line in the end of a log that says that memory ran out, in the form of CRI or of Docker's `json-file`.
#[must_use]
pub fn last_words(tail: &[u8]) -> Option<Words> {
    tail.split(|byte| *byte == b'\n').rev().find_map(|line| {
        let (at, text) = line_of(std::str::from_utf8(line).ok()?)?;
        let runtime = runtime(&text)?;
        Some(Words { at, runtime, text: text.trim().chars().take(MOST_CHARS).collect() })
    })
}

/// The runtime whose words of memory that ran out are in a text.
#[must_use]
pub fn runtime(text: &str) -> Option<&'static str> {
    let known = WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, runtime)| *runtime);
    let rust = || text.split_once(RUST.0).is_some_and(|(_, rest)| rest.contains(RUST.1));
    known.or_else(|| rust().then_some("Rust"))
}

/// `2026-06-01T10:00:30.123456789Z stderr F text`, or `{"log":"text\n","stream":"stderr","time":"2026-…"}`.
fn line_of(line: &str) -> Option<(Timestamp, String)> {
    if line.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        return Some((value.get("time")?.as_str()?.parse().ok()?, value.get("log")?.as_str()?.to_owned()));
    }
    let mut parts = line.splitn(4, ' ');
    let at = parts.next()?.parse().ok()?;
    let (_stream, _tag, text) = (parts.next()?, parts.next()?, parts.next()?);
    Some((at, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_so_counts_in_both_forms() {
        let cri = b"06-01T10:00:29Z stderr F cut off\n\
            2026-06-01T10:00:29.5Z stderr F java.lang.OutOfMemoryError: Java heap space\n\
            2026-06-01T10:00:30.5Z stderr F \tat com.example.Main.main(Main.java:7)\n";
        let words = last_words(cri).expect("words");
        assert_eq!((words.runtime, words.text.as_str()), ("Java", "java.lang.OutOfMemoryError: Java heap space"));
        assert_eq!(words.at.to_string(), "2026-06-01T10:00:29.5Z");
        let docker = br#"{"log":"FATAL ERROR: Reached heap limit Allocation failed\n","stream":"stderr","time":"2026-06-01T10:00:30Z"}"#;
        assert_eq!(last_words(docker).map(|words| words.runtime), Some("Node.js"));
        let rust = b"2026-06-01T10:00:30Z stderr F memory allocation of 8589934592 bytes failed";
        assert_eq!(last_words(rust).map(|words| words.runtime), Some("Rust"));
        assert_eq!(last_words(b"2026-06-01T10:00:30Z stdout F all is well\n"), None);
    }
}
