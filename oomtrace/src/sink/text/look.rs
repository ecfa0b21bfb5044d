//! What text looks like where it is read: how wide, in colour or not, in Unicode or in ASCII.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal as _},
};

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;

/// The narrowest that text is wrapped to.
const NARROWEST: usize = 20;

/// Characters for amounts, the lowest first.
pub(super) const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const LEVELS_IN_ASCII: [char; 8] = ['.', ':', '-', '=', '+', '*', '%', '#'];

/// What text looks like.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is chosen by itself")]
pub struct Look {
    width: Width,
    colour: bool,
    unicode: bool,
    /// Whether a person watches: the time of day is enough for an event.
    watched: bool,
    details: bool,
}

#[derive(Clone, Copy, Debug)]
enum Width {
    Unlimited,
    Columns(usize),
    /// What the terminal has at the moment: its window may be resized while oomtrace runs.
    Terminal,
}

impl Look {
    /// Of text that no terminal shows: no colours, and a line is as long as it is.
    #[must_use]
    pub fn plain() -> Self {
        Self { width: Width::Unlimited, colour: false, unicode: true, watched: false, details: false }
    }

    /// Of a file.
    #[must_use]
    pub fn of_file() -> Self {
        Self { unicode: is_unicode(|name| env::var(name).ok()), ..Self::plain() }
    }

    /// Of standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        Self::of(stdout.is_terminal(), AutoStream::choice(&stdout))
    }

    /// Of standard error.
    #[must_use]
    pub fn of_stderr() -> Self {
        let stderr = io::stderr();
        Self::of(stderr.is_terminal(), AutoStream::choice(&stderr))
    }

    fn of(terminal: bool, colour: ColorChoice) -> Self {
        // A shell does not export it: where it is set, it is meant for programs.
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = match columns {
            Some(columns) if columns > 0 => Width::Columns(columns),
            _ if terminal => Width::Terminal,
            _ => Width::Unlimited,
        };
        Self { width, colour: colour != ColorChoice::Never, watched: terminal, ..Self::of_file() }
    }

    /// The same, with all that is known of an event.
    #[must_use]
    pub fn with_details(self, details: bool) -> Self {
        Self { details, ..self }
    }

    /// The same, of this width.
    #[must_use]
    pub fn with_width(self, columns: usize) -> Self {
        Self { width: Width::Columns(columns), ..self }
    }

    /// The same, in ASCII.
    #[must_use]
    pub fn in_ascii(self) -> Self {
        Self { unicode: false, ..self }
    }

    /// The same, in colour.
    #[must_use]
    pub fn in_colour(self) -> Self {
        Self { colour: true, ..self }
    }

    /// Whether all that is known of an event is wanted.
    pub(super) fn has_details(&self) -> bool {
        self.details
    }

    /// Whether a person watches.
    pub(super) fn is_watched(&self) -> bool {
        self.watched
    }

    /// How many columns a line may have; `None` where it may have any number.
    pub(crate) fn columns(&self) -> Option<usize> {
        let columns = match self.width {
            Width::Unlimited => return None,
            Width::Columns(columns) => columns,
            // Standard error is asked second: for diagnostics while standard output is piped.
            Width::Terminal => terminal_size::terminal_size_of(io::stdout())
                .or_else(|| terminal_size::terminal_size_of(io::stderr()))
                .map(|(columns, _)| usize::from(columns.0))
                // A terminal that does not know its size: a serial console.
                .filter(|columns| *columns > 0)
                .unwrap_or(80),
        };
        Some(columns.max(NARROWEST))
    }

    /// Text as it can be shown: where that is ASCII alone, with stand-ins for what oomtrace itself writes, and with escapes for
    /// names from outside.
    pub(crate) fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '✗' | '×' => shown.push('x'),
                '▼' => shown.push('v'),
                '→' => shown.push('>'),
                '■' => shown.push('#'),
                '·' => shown.push('.'),
                '│' => shown.push('|'),
                '–' => shown.push('-'),
                '…' => shown.push_str("..."),
                c if c.is_ascii() => shown.push(c),
                c => match LEVELS.iter().position(|level| *level == c) {
                    Some(level) => shown.push(LEVELS_IN_ASCII[level]),
                    None => shown.extend(c.escape_unicode()),
                },
            }
        }
        Cow::Owned(shown)
    }

    /// Text in a style, where there are any.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Whether the locale's characters are Unicode: the first of these variables that says something counts (POSIX, "Environment
/// Variables", 8.2). The kernel's console knows the encoding, but few of the signs.
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let said = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(said).unwrap_or_default().to_ascii_lowercase();
    variable("TERM").as_deref() != Some("linux") && (locale.contains("utf-8") || locale.contains("utf8"))
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    #[test]
    fn the_first_variable_of_the_locale_that_says_something_counts() {
        let unicode = |variables: &[(&str, &str)]| {
            is_unicode(|asked| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned()))
        };
        assert!(unicode(&[("LANG", "de_DE.UTF-8")]) && unicode(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!unicode(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(!unicode(&[]) && !unicode(&[("LANG", "POSIX")]));
        assert!(!unicode(&[("LANG", "C.UTF-8"), ("TERM", "linux")]));
    }

    #[test]
    fn without_unicode_signs_have_stand_ins_and_names_are_escaped() {
        let shown = Look::plain().in_ascii();
        assert_eq!(shown.shown("✗ ■ · │ → ▼ …"), "x # . | > v ...");
        assert_eq!(shown.shown("naïve"), "na\\u{ef}ve");
        assert_eq!(Look::plain().shown("✗ naïve"), "✗ naïve");
    }

    #[test]
    fn only_a_look_in_colour_has_escape_sequences() {
        let red = AnsiColor::Red.on_default();
        assert_eq!(Look::plain().paint(red, "x"), "x");
        assert_eq!(Look::plain().in_colour().paint(red, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Look::plain().in_colour().paint(red, ""), "");
    }
}
