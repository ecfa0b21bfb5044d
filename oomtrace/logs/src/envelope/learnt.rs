//! Heads that are in no list: what `grep`, an export or a hand put before each line, learnt from the log itself.
//!
//! # How a head is learnt
//!
//! Some lines can be known by their text alone, wherever they stand: those of an OOM report, and klog's. Where such a line
//! cannot be read as it is, what stands before it is its head. A head is learnt where it is made of the same parts in all
//! of these lines: the same words, and in between numbers, times, and names of nodes.
//!
//! # What a log can be trusted with
//!
//! An app may log what looks like the kernel's line. So a line that is in a known form, and somebody else's there, teaches
//! nothing, and in a log that can be read as it is no head is looked for. Before a text without any form of the kernel's,
//! a head that has a word other than `kernel` has to be the head of all lines: where another word stands in its place on
//! other lines, it names who wrote them.
//!
//! # What else is undone
//!
//! Colours; indentation; columns of CSV; lines that a terminal cut into several of its own width; the newest line first; a
//! file that is one JSON document.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    json,
    scan::Scan,
    when::{self, HeadTime, Wall, When},
};

/// No head is longer.
const FARTHEST: usize = 512;
/// No head has more parts.
const MOST_PARTS: usize = 48;
/// Words of a head that may differ from line to line: a node, a level.
const MOST_VARIABLE: usize = 2;
/// No terminal is narrower, as far as lines of a log are read there.
const NARROWEST: usize = 40;
/// Whether a terminal cut lines, and which one is first, shows in so many.
const FIRST_LINES: usize = 4096;
const ESCAPE: u8 = 0x1b;

/// What a line is by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// One that is looked for, in a form that is known: this is where its text begins.
    Wanted(usize),
    /// One that is looked for, without any head.
    Bare,
    /// In a form that is known, and somebody else's.
    Foreign,
    /// In no form that is known.
    No,
}

/// What is looked for in a log: the kernel's lines, or the kubelet's.
pub trait Wanted {
    /// What a line is by itself.
    fn known(&self, line: &[u8]) -> LineKind;
    /// Where the text of a line begins that can be known by its text alone, whatever stands before it, and what kind of line
    /// it is: kinds are numbered as they follow each other.
    fn text_at(&self, line: &[u8]) -> Option<(usize, u8)>;
    /// Whether a word in a head names the writer that is looked for.
    fn is_writer(&self, word: &[u8]) -> bool;
    /// Whether a line that does not begin as others do is the rest of one: its start says that more has to follow. `None`
    /// where the lines do not tell, but only the width of the terminal that cut them.
    fn goes_on(&self, start: &[u8], rest: &[u8]) -> Option<bool>;
    /// When a line was logged, as far as its own form tells.
    fn when(&self, line: &[u8]) -> When;
}

/// What has to be undone before the lines of a log can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    head: Option<Head>,
    /// Lines were cut into several: those of so many characters, where their texts do not tell.
    width: Option<usize>,
    /// The last line is the first.
    pub newest_first: bool,
    /// The log is one JSON document.
    pub document: bool,
    colours: bool,
    /// Lines that look like those that are looked for, and cannot be read by anything learnt.
    pub strangers: u64,
}

/// The parts of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    parts: Vec<Part>,
    /// Behind it stands a column, which may be quoted.
    column: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// This word.
    Word(Vec<u8>),
    /// A word that is not the same on all lines.
    AnyWord,
    /// A name of the writer that is looked for.
    Writer,
    Number,
    Time,
    Blanks,
    Other(u8),
}

/// A part of a head as it was read.
struct Token<'a> {
    part: Part,
    text: &'a [u8],
    time: Option<HeadTime>,
}

/// A line without what was learnt to stand around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeled<'a> {
    /// The line.
    pub line: Cow<'a, [u8]>,
    /// The time that stands in its head.
    pub wall: Option<Wall>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"._-/@~+#%$".contains(&byte)
}

/// The part that `rest` begins with. `fresh` where a word may begin.
fn token<'a>(rest: &'a [u8], wanted: &(impl Wanted + ?Sized)) -> Option<Token<'a>> {
    let mut scan = Scan(rest);
    if let Some(time) = when::in_head(&mut scan).filter(|_| !rest.starts_with(b" ")) {
        let text = &rest[..rest.len() - scan.0.len()];
        return Some(Token { part: Part::Time, text, time: Some(time) });
    }
    let first = *rest.first()?;
    let run = |is: fn(u8) -> bool| rest.iter().take_while(|byte| is(**byte)).count();
    let (part, count) = match first {
        b' ' => (Part::Blanks, run(|byte| byte == b' ')),
        _ if is_word(first) => {
            let count = run(is_word);
            let word = &rest[..count];
            let part = if word.iter().all(u8::is_ascii_digit) {
                Part::Number
            } else if wanted.is_writer(word) {
                Part::Writer
            } else {
                Part::Word(word.to_vec())
            };
            (part, count)
        }
        _ => (Part::Other(first), 1),
    };
    Some(Token { part, text: &rest[..count], time: None })
}

fn tokens<'a>(head: &'a [u8], wanted: &(impl Wanted + ?Sized)) -> Option<Vec<Token<'a>>> {
    let (mut rest, mut tokens) = (head, Vec::new());
    while !rest.is_empty() {
        let token = token(rest, wanted)?;
        rest = &rest[token.text.len()..];
        tokens.push(token);
        if tokens.len() > MOST_PARTS {
            return None;
        }
    }
    Some(tokens)
}

/// A line of a log that can be known by its text, and what stands before it.
struct Sample<'a> {
    head: &'a [u8],
    /// What follows is in a form that is known.
    formed: bool,
}

impl Head {
    /// The head that all these lines have.
    fn of(samples: &[Sample<'_>], others: &[&[u8]], wanted: &impl Wanted) -> Option<Self> {
        let read: Vec<Vec<Token<'_>>> =
            samples.iter().map(|sample| tokens(sample.head, wanted)).collect::<Option<_>>()?;
        let mut parts: Vec<Part> = read.first()?.iter().map(|token| token.part.clone()).collect();
        for tokens in &read {
            if tokens.len() != parts.len() {
                return None;
            }
            for (part, token) in parts.iter_mut().zip(tokens) {
                *part = match (&*part, &token.part) {
                    (one, other) if one == other => continue,
                    (
                        Part::Word(_) | Part::AnyWord | Part::Number | Part::Writer,
                        Part::Word(_) | Part::AnyWord | Part::Number | Part::Writer,
                    ) => Part::AnyWord,
                    _ => return None,
                };
            }
        }
        let column = match &parts[..] {
            [.., Part::Other(b',' | b'\t' | b';'), Part::Other(b'"')] | [Part::Other(b'"')] => {
                parts.pop();
                true
            }
            [.., Part::Other(b',' | b'\t' | b';')] => true,
            _ => false,
        };
        let head = Self { parts, column };
        let formed = samples.iter().all(|sample| sample.formed);
        head.can_be_trusted(formed, samples.len(), others, wanted).then_some(head)
    }

    fn can_be_trusted(&self, formed: bool, samples: usize, others: &[&[u8]], wanted: &impl Wanted) -> bool {
        let count = |is: fn(&Part) -> bool| self.parts.iter().filter(|part| is(part)).count();
        let variable = count(|part| matches!(part, Part::AnyWord));
        if variable > MOST_VARIABLE {
            return false;
        }
        if self.parts.contains(&Part::Writer) {
            return true;
        }
        let words = count(|part| matches!(part, Part::Word(_)));
        let punctuated = self.parts.last().is_none_or(|part| *part != Part::Blanks) || words == 0;
        if formed {
            // A sentence is no head.
            return words <= 1 || count(|part| matches!(part, Part::Blanks)) <= 2 || self.has_mark();
        }
        // Who wrote a text without a form, only the head tells.
        if variable > 0 || (samples == 1 && words > 0 && !punctuated && !self.has_mark()) {
            return false;
        }
        let loose = self.loose();
        !others.iter().any(|line| loose.matches(line, wanted).is_some() && self.matches(line, wanted).is_none())
    }

    /// Whether it has what no sentence begins with: a time, a number of a line, or a column.
    fn has_mark(&self) -> bool {
        self.column || self.parts.iter().any(|part| matches!(part, Part::Time | Part::Number))
    }

    /// The same with any words.
    fn loose(&self) -> Self {
        let any = |part: &Part| if matches!(part, Part::Word(_)) { Part::AnyWord } else { part.clone() };
        Self { parts: self.parts.iter().map(any).collect(), column: self.column }
    }

    /// What follows this head on a line, and the time in it.
    fn matches<'a>(&self, line: &'a [u8], wanted: &(impl Wanted + ?Sized)) -> Option<(&'a [u8], Option<HeadTime>)> {
        let (mut rest, mut time) = (line, None);
        for part in &self.parts {
            // A blank line at the end of a quote has none behind the mark.
            let read = token(rest, wanted)?;
            let fits = match part {
                Part::AnyWord => matches!(read.part, Part::Word(_) | Part::Number | Part::Writer),
                part => *part == read.part,
            };
            if !fits {
                return None;
            }
            time = time.or(read.time);
            rest = &rest[read.text.len()..];
        }
        Some((rest, time))
    }

    fn has_time(&self) -> bool {
        self.parts.contains(&Part::Time)
    }

    fn is_indentation(&self) -> bool {
        self.parts == [Part::Blanks]
    }
}

impl Plan {
    /// What has to be undone of a log, by its first lines, as many as can be had.
    #[must_use]
    pub fn learn(text: &[u8], wanted: &impl Wanted) -> Self {
        if is_document(text) {
            return Self { document: true, ..Self::default() };
        }
        let colours = memchr::memchr(ESCAPE, text).is_some();
        let lines: Vec<Cow<'_, [u8]>> = text.split(|byte| *byte == b'\n').map(|line| plain(line, colours)).collect();
        let mut samples = Vec::new();
        let mut kinds = Vec::new();
        let mut readable = 0_u64;
        let mut others = Vec::new();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let Some((at, kind)) = wanted.text_at(line) else {
                others.push(&**line);
                continue;
            };
            kinds.push(kind);
            match wanted.known(line) {
                LineKind::Wanted(_) => readable += 1,
                LineKind::Bare if kind != 0 => readable += 1,
                LineKind::No if at <= FARTHEST => {
                    let formed = |line: &[u8]| matches!(wanted.known(line), LineKind::Wanted(_));
                    let cut = starts(line, at, wanted).find_map(|cut| {
                        let rest = &line[cut..];
                        if rest.starts_with(b"\"") && formed(&column(rest).0) {
                            return Some(cut + 1);
                        }
                        formed(rest).then_some(cut)
                    });
                    samples.push(Sample { head: &line[..cut.unwrap_or(at)], formed: cut.is_some() });
                }
                // The name of a task stands before the text, and may hold anything.
                LineKind::Bare | LineKind::Foreign | LineKind::No => {}
            }
        }
        // What stands in a readable log beside its lines is what somebody says in lines of theirs.
        let head = if readable == 0 { most_alike(&samples, &others, wanted) } else { None };
        let mut plan = Self { head, colours, ..Self::default() };
        if plan.head.is_none() && readable == 0 {
            plan.strangers = samples.len() as u64;
        }
        let first = &lines[..lines.len().min(FIRST_LINES)];
        plan.width = plan.width_of(first, wanted);
        plan.newest_first = plan.descends(first, wanted).unwrap_or_else(|| is_reversed(&kinds));
        plan
    }

    /// Whether lines can be read as they are.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Self { head, width, newest_first, document, colours, strangers: _ } = self;
        head.is_none() && width.is_none() && !newest_first && !document && !colours
    }

    /// Whether a head was learnt, or something else is undone, in words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let head = self.head.as_ref().map(|head| match () {
            () if head.is_indentation() => "indented",
            () if head.has_time() => "behind a head with a time",
            () => "behind a head",
        });
        let rest = [
            (self.width.is_some(), "lines cut by a terminal"),
            (self.newest_first, "newest first"),
            (self.document, "one JSON document"),
        ];
        let rest = rest.into_iter().filter_map(|(is, what)| is.then_some(what));
        head.into_iter().chain(rest).fold(String::new(), |text, what| text + ", " + what)
    }

    /// The head does not match: the line is none of those that are looked for.
    fn peel<'a>(&self, line: &'a [u8], wanted: &(impl Wanted + ?Sized)) -> Option<Peeled<'a>> {
        let Some(head) = &self.head else { return Some(Peeled { line: line.into(), wall: None }) };
        let (rest, time) = head.matches(line, wanted)?;
        let (line, behind) = if head.column { column(rest) } else { (rest.into(), &[][..]) };
        let time = time.or_else(|| {
            let parts = tokens(behind, wanted)?;
            parts.into_iter().find_map(|token| token.time)
        });
        let wall = match time {
            Some(HeadTime::Wall(wall)) => Some(wall),
            Some(HeadTime::OfDay) | None => None,
        };
        Some(Peeled { line, wall })
    }

    /// Whether a line can be the first of several that a terminal made of one.
    fn begins(&self, line: &[u8], wanted: &(impl Wanted + ?Sized)) -> bool {
        match &self.head {
            Some(head) => head.matches(line, wanted).is_some_and(|(rest, _)| {
                let text = || wanted.text_at(rest).is_some_and(|(at, _)| at == 0);
                !head.is_indentation() || wanted.known(rest) != LineKind::No || text()
            }),
            None => wanted.known(line) != LineKind::No,
        }
    }

    /// The width of the terminal that cut lines: there is no longer one, and what follows a line of that width is no line of
    /// its own.
    fn width_of(&self, lines: &[Cow<'_, [u8]>], wanted: &impl Wanted) -> Option<usize> {
        let width = lines.iter().map(|line| characters(line)).max().filter(|width| *width >= NARROWEST)?;
        let starts: Vec<bool> = lines.iter().map(|line| self.begins(line, wanted)).collect();
        let full = |at: usize| characters(&lines[at]) == width;
        let (mut was_cut, mut begun) = (false, 0);
        for at in 1..lines.len() {
            begun = if starts[at] { at } else { begun };
            let further = lines[at].first().is_some_and(u8::is_ascii_whitespace)
                && !self.head.as_ref().is_some_and(Head::is_indentation);
            if starts[at] || lines[at].is_empty() || further {
                continue;
            }
            match wanted.goes_on(&lines[begun], &lines[at]) {
                Some(rest) => was_cut |= rest && starts[begun],
                None if full(at - 1) => was_cut = true,
                // A log whose lines have no head, or one with rests of other lines.
                None => return None,
            }
        }
        was_cut.then_some(width)
    }

    /// Whether the times of lines go back; `None` where they do not differ.
    fn descends(&self, lines: &[Cow<'_, [u8]>], wanted: &impl Wanted) -> Option<bool> {
        let whens = lines.iter().filter_map(|line| {
            let peeled = self.peel(line, wanted)?;
            let When { boot_ns, wall } = wanted.when(&peeled.line);
            let when = When { boot_ns, wall: wall.or(peeled.wall) };
            (when != When::default()).then_some(when)
        });
        let whens: Vec<When> = whens.collect();
        let steps: Vec<i128> = whens.windows(2).filter_map(|pair| pair[1].since(&pair[0])).collect();
        let count = |is: fn(&&i128) -> bool| steps.iter().filter(is).count();
        let (up, down) = (count(|step| **step > 0), count(|step| **step < 0));
        (up + down > 0).then_some(down > up * 4)
    }
}

/// The head that most of these lines have.
fn most_alike(samples: &[Sample<'_>], others: &[&[u8]], wanted: &impl Wanted) -> Option<Head> {
    let mut by_parts: BTreeMap<Vec<Part>, Vec<Sample<'_>>> = BTreeMap::new();
    for sample in samples {
        let Some(tokens) = tokens(sample.head, wanted) else { continue };
        let any =
            |part: Part| if matches!(part, Part::Word(_) | Part::Number | Part::Writer) { Part::AnyWord } else { part };
        let mut parts: Vec<Part> = tokens.into_iter().map(|token| any(token.part)).collect();
        // Some columns are quoted, and others of the same log are not.
        if parts.ends_with(&[Part::Other(b'"')]) && parts.len() > 1 {
            parts.pop();
        }
        by_parts.entry(parts).or_default().push(Sample { head: sample.head, formed: sample.formed });
    }
    let (parts, alike) = by_parts.into_iter().max_by_key(|(_, alike)| alike.len())?;
    if parts.is_empty() || alike.len() * 2 <= samples.len() {
        return None;
    }
    // A quote belongs to the column behind it.
    let quoted = alike.iter().any(|sample| sample.head.ends_with(b"\"")) && parts.last() != Some(&Part::Other(b'"'));
    let trimmed: Vec<Sample<'_>> = alike
        .iter()
        .map(|sample| {
            let head = if quoted { sample.head.strip_suffix(b"\"").unwrap_or(sample.head) } else { sample.head };
            Sample { head, formed: sample.formed }
        })
        .collect();
    let of_writer: Vec<Sample<'_>> = trimmed
        .iter()
        .filter(|sample| {
            tokens(sample.head, wanted).is_some_and(|tokens| tokens.iter().any(|token| token.part == Part::Writer))
        })
        .map(|sample| Sample { head: sample.head, formed: sample.formed })
        .collect();
    // Where some lines name the writer that is looked for, the others are of others.
    if of_writer.is_empty() { Head::of(&trimmed, others, wanted) } else { Head::of(&of_writer, others, wanted) }
}

/// Where a form may begin before a text.
fn starts<'a>(line: &'a [u8], text_at: usize, wanted: &'a impl Wanted) -> impl Iterator<Item = usize> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let token = token(line.get(at..)?, wanted)?;
        at += token.text.len();
        (at < text_at).then_some(at)
    })
}

/// Whether lines that follow each other in a report do so from its end to its beginning.
fn is_reversed(kinds: &[u8]) -> bool {
    let count = |is: fn(&&[u8]) -> bool| kinds.windows(2).filter(is).count();
    let (up, down) = (count(|pair| pair[0] < pair[1]), count(|pair| pair[0] > pair[1]));
    down > 1 && down > up
}

/// Whether a file is one JSON document of several lines, or a list on one.
#[must_use]
pub fn is_document(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    match text.first() {
        Some(b'[') => matches!(first.get(1..).map(<[u8]>::trim_ascii_start), Some([] | [b'{' | b'[' | b'"', ..])),
        Some(b'{') => {
            let whole = || serde_json::from_slice::<serde_json::Value>(first);
            first == b"{" || whole().is_ok_and(|object| json::of_object(&object).is_none() && json::has_list(&object))
        }
        _ => false,
    }
}

/// A column of a table, without its quotes, and what follows it.
fn column(rest: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let Some(quoted) = rest.strip_prefix(b"\"") else { return (rest.into(), &[]) };
    let (mut text, mut at) = (Vec::new(), 0);
    while let Some(quote) = memchr::memchr(b'"', &quoted[at..]).map(|quote| at + quote) {
        text.extend_from_slice(&quoted[at..quote]);
        at = quote + 1;
        if quoted.get(at) != Some(&b'"') {
            return (text.into(), &quoted[at..]);
        }
        text.push(b'"');
        at += 1;
    }
    // The column goes on after the end of the line.
    text.extend_from_slice(&quoted[at..]);
    (text.into(), &[])
}

fn characters(line: &[u8]) -> usize {
    String::from_utf8_lossy(line).chars().count()
}

/// A line without its end, and without colours.
fn plain(line: &[u8], colours: bool) -> Cow<'_, [u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if colours { uncoloured(line) } else { line.into() }
}

/// A text without colours.
pub(crate) fn uncoloured(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(ESCAPE, text).is_some() { without_colours(text).into() } else { text.into() }
}

/// Takes off `ESC [ … letter`: ECMA-48's control sequences, of which `dmesg --color` prints the colours.
pub(crate) fn without_colours(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == ESCAPE && bytes.next_if_eq(&b'[').is_some() {
            while bytes.next_if(|byte| (0x20..0x40).contains(byte)).is_some() {}
            bytes.next_if(|byte| (0x40..0x7f).contains(byte));
        } else {
            plain.push(byte);
        }
    }
    plain
}

/// Undoes what a plan says, line by line.
pub struct Peeler<W> {
    plan: Plan,
    wanted: W,
    /// A line that may go on, and whether it fills the terminal.
    open: Option<(Vec<u8>, bool)>,
    /// Lines that do not have the head that was learnt.
    pub without_head: u64,
    /// Of them those that look like what is looked for.
    pub strangers: u64,
}

impl<W: Wanted> Peeler<W> {
    /// At the start of a log.
    #[must_use]
    pub fn new(plan: Plan, wanted: W) -> Self {
        Self { plan, wanted, open: None, without_head: 0, strangers: 0 }
    }

    /// Takes a line; gives those that are whole.
    pub fn push(&mut self, line: &[u8], mut whole: impl FnMut(Peeled<'_>)) {
        let line = plain(line, self.plan.colours);
        let Some(width) = self.plan.width else { return self.give(&line, &mut whole) };
        let full = characters(&line) == width;
        match &mut self.open {
            Some((open, filled))
                if !self.plan.begins(&line, &self.wanted) && self.wanted.goes_on(open, &line).unwrap_or(*filled) =>
            {
                let indented = self.plan.head.as_ref().is_some_and(Head::is_indentation);
                open.extend_from_slice(if indented { line.trim_ascii_start() } else { &line });
                self.open = self.open.take().map(|(open, _)| (open, full));
            }
            _ => {
                self.finish(&mut whole);
                self.open = Some((line.into_owned(), full));
            }
        }
    }

    /// The log is over.
    pub fn finish(&mut self, mut whole: impl FnMut(Peeled<'_>)) {
        if let Some((line, _)) = self.open.take() {
            self.give(&line, &mut whole);
        }
    }

    fn give(&mut self, line: &[u8], whole: &mut impl FnMut(Peeled<'_>)) {
        match self.plan.peel(line, &self.wanted) {
            Some(peeled) => whole(peeled),
            None if line.is_empty() => {}
            None => {
                self.without_head += 1;
                self.strangers += u64::from(self.wanted.text_at(line).is_some());
            }
        }
    }
}
