//! Text in paragraphs: each is wrapped where it is too wide, and hangs below its beginning.

use anstyle::{AnsiColor, Style};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use super::look::Look;
use crate::event::Mark;

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const RED: Style = AnsiColor::Red.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();

/// The sign of what happened, and its style.
pub(super) fn sign(mark: Mark) -> (&'static str, Style) {
    match mark {
        Mark::Kill => ("✗", RED),
        Mark::Eviction => ("▼", YELLOW),
        Mark::Failure => ("!", AnsiColor::Magenta.on_default()),
        Mark::Signal => ("→", AnsiColor::Cyan.on_default()),
        Mark::Exit => ("■", PLAIN),
        Mark::Other => ("·", PLAIN),
    }
}

/// Text that grows by paragraphs.
pub(crate) struct Page {
    look: Look,
    columns: Option<usize>,
    text: String,
}

impl Page {
    /// An empty one.
    pub(crate) fn new(look: Look) -> Self {
        Self { columns: look.columns(), look, text: String::new() }
    }

    pub(super) fn look(&self) -> Look {
        self.look
    }

    /// What was written.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A paragraph: `head`, piece by piece in its styles, then `text`. Where it goes on, it does so behind `hang` columns. A
    /// word is never broken: a path that is wider than the screen can still be copied.
    pub(crate) fn paragraph(&mut self, head: &[(&str, Style)], hang: usize, style: Style, text: &str) {
        let head: Vec<_> = head.iter().map(|(piece, style)| (self.look.shown(piece), *style)).collect();
        for (piece, style) in &head {
            self.text += &self.look.paint(*style, piece);
        }
        let text = self.look.shown(text);
        let Some(columns) = self.columns else {
            self.text += &self.look.paint(style, &text);
            self.end_line();
            return;
        };
        let plain: String = head.iter().map(|(piece, _)| piece.as_ref()).collect();
        let hang = " ".repeat(hang.min(columns / 3));
        let options = Options::new(columns)
            .initial_indent(&plain)
            .subsequent_indent(&hang)
            .break_words(false)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .wrap_algorithm(WrapAlgorithm::FirstFit);
        for (position, line) in textwrap::wrap(&text, options).iter().enumerate() {
            // The head stands there already, in its styles.
            let indent = if position == 0 { plain.as_str() } else { hang.as_str() };
            if position > 0 {
                self.text += &hang;
            }
            self.text += &self.look.paint(style, line.strip_prefix(indent).unwrap_or(line));
            self.end_line();
        }
    }

    /// A line end, without what is blank before it.
    fn end_line(&mut self) {
        let end = self.text.trim_end_matches(' ').len();
        self.text.truncate(end);
        self.text.push('\n');
    }

    /// An event: when, and what.
    pub(super) fn event(&mut self, ts: &str, mark: Mark, text: &str) {
        let (sign, style) = sign(mark);
        let of_text = if matches!(mark, Mark::Kill | Mark::Eviction) { style } else { PLAIN };
        self.at(ts, (sign, style), of_text, text);
    }

    /// Something that is to be noticed, and is no step of an incident.
    pub(super) fn notice(&mut self, ts: &str, style: Style, text: &str) {
        self.at(ts, ("!", style), style, text);
    }

    fn at(&mut self, ts: &str, (sign, of_sign): (&str, Style), style: Style, text: &str) {
        let time = if self.look.is_watched() { time_of_day(ts) } else { to_milliseconds(ts) };
        let head = time.len() + 4;
        let hang = if self.columns.is_some_and(|columns| head > columns / 4) { 4 } else { head };
        self.paragraph(&[(&time, DIM), ("  ", PLAIN), (sign, of_sign), (" ", PLAIN)], hang, style, text);
    }

    /// Something more of the event above.
    pub(super) fn detail(&mut self, what: &str, text: &str) {
        self.paragraph(&[("    ", PLAIN), (&format!("{what:<11}"), DIM)], 15, PLAIN, text);
    }
}

/// `2026-11-23T23:20:41.379721000Z` to milliseconds.
pub(super) fn to_milliseconds(ts: &str) -> String {
    match ts.split_once('.') {
        Some((seconds, fraction)) if fraction.ends_with('Z') && fraction.len() > 4 && fraction.is_ascii() => {
            format!("{seconds}.{}Z", &fraction[..3])
        }
        _ => ts.to_owned(),
    }
}

/// The same without its date.
fn time_of_day(ts: &str) -> String {
    let ts = to_milliseconds(ts);
    ts.split_once('T').map_or(ts.clone(), |(_, time)| time.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraph(columns: usize, hang: usize, head: &str, text: &str) -> String {
        let mut page = Page::new(Look::plain().with_width(columns));
        page.paragraph(&[(head, PLAIN)], hang, PLAIN, text);
        page.finish()
    }

    #[test]
    fn a_paragraph_is_wrapped_and_hangs_below_its_beginning() {
        assert_eq!(paragraph(20, 4, "ab: ", "one two three four five"), "ab: one two three\n    four five\n");
        assert_eq!(paragraph(80, 4, "ab: ", "one two three four five"), "ab: one two three four five\n");
        assert_eq!(paragraph(80, 4, "ab: ", ""), "ab:\n");
    }

    #[test]
    fn a_word_wider_than_the_screen_stays_whole_and_pod_names_are_not_broken_at_a_hyphen() {
        let path = "/kubepods.slice/kubepods-burstable.slice";
        assert_eq!(paragraph(24, 2, "", &format!("at {path} it is")), format!("at\n  {path}\n  it is\n"));
        assert_eq!(paragraph(24, 0, "", "the pod is team-a/web-7c9f"), "the pod is\nteam-a/web-7c9f\n");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(paragraph(20, 0, "", "名前名前名前 名前名前"), "名前名前名前\n名前名前\n");
    }

    #[test]
    fn every_line_of_a_styled_paragraph_has_its_own_style() {
        let mut page = Page::new(Look::plain().with_width(20).in_colour());
        page.paragraph(&[("x ", BOLD)], 2, RED, "one two three four five");
        assert_eq!(
            page.finish(),
            "\u{1b}[1mx \u{1b}[0m\u{1b}[31mone two three four\u{1b}[0m\n  \u{1b}[31mfive\u{1b}[0m\n"
        );
    }

    #[test]
    fn an_unlimited_line_is_not_wrapped() {
        let mut page = Page::new(Look::plain());
        page.paragraph(&[("x ", BOLD)], 2, PLAIN, &"word ".repeat(100));
        assert_eq!(page.finish().lines().count(), 1);
    }

    #[test]
    fn times_are_shown_to_milliseconds() {
        assert_eq!(to_milliseconds("2026-11-23T23:20:41.379721000Z"), "2026-11-23T23:20:41.379Z");
        assert_eq!(to_milliseconds("2026-11-23T23:20:41Z"), "2026-11-23T23:20:41Z");
        assert_eq!(time_of_day("2026-11-23T23:20:41.379721000Z"), "23:20:41.379Z");
        assert_eq!(time_of_day("yesterday"), "yesterday");
    }
}
