//! All sentences of verdicts: the files beside this one decide, those below say it. Each takes the facts that were found.
//!
//! What sentences are made of, such as sizes and names, is in [`crate::words`].

pub(super) mod ending;
pub(super) mod eviction;
pub(super) mod grown;
pub(super) mod heap;
pub(super) mod intended;
pub(super) mod killer;
pub(super) mod missing;
pub(super) mod oom;
pub(super) mod oom_advice;
pub(super) mod steps;
pub(super) mod stopped;

/// The same with its first letter in upper case: the beginning of a sentence.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}
