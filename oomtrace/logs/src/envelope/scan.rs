//! Reads the head of a line byte by byte: a line need not be text.

/// What is left of a line.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a>(pub(crate) &'a [u8]);

impl<'a> Scan<'a> {
    /// Passes over `tag`, or stays.
    pub(crate) fn tag(&mut self, tag: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(tag)?;
        Some(())
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    pub(crate) fn peek_at(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    /// Passes over any number of spaces.
    pub(crate) fn spaces(&mut self) -> usize {
        let count = self.0.iter().take_while(|byte| **byte == b' ').count();
        self.skip(count);
        count
    }

    /// All digits here: one or more.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = std::str::from_utf8(&self.0[..count]).ok()?.parse().ok()?;
        self.skip(count);
        Some(value)
    }

    pub(crate) fn small(&mut self) -> Option<i16> {
        self.number().and_then(|value| i16::try_from(value).ok())
    }

    /// Exactly `count` digits.
    pub(crate) fn digits(&mut self, count: usize) -> Option<i32> {
        let digits = self.0.get(..count).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        self.skip(count);
        Some(digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0')))
    }

    /// `.137400` or `,137400` in nanoseconds. Digits after the ninth are passed over.
    pub(crate) fn fraction(&mut self) -> Option<i32> {
        let mut rest = Scan(self.0);
        rest.tag(b".").or_else(|| rest.tag(b","))?;
        let count = rest.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = (0..9).map(|at| if at < count { i32::from(rest.0[at] - b'0') } else { 0 });
        let value = digits.fold(0, |value, digit| value * 10 + digit);
        if count == 0 {
            return None;
        }
        rest.skip(count);
        *self = rest;
        Some(value)
    }

    /// ` <    0.000125>`, the time since the line before (`dmesg --show-delta`), and ` <    0.000125 >` with the blanks that
    /// stand for it on the first line (`journalctl -o short-delta`): passed over.
    pub(crate) fn delta(&mut self) -> Option<()> {
        if self.spaces() > 0 && self.tag(b"<").is_some() {
            self.spaces();
            self.number()?;
            self.fraction()?;
            // Where the clock was set between the two.
            let _ = self.tag(b"*");
            self.spaces();
            self.tag(b">")?;
        }
        Some(())
    }

    /// Up to the next space, or the end.
    pub(crate) fn token(&mut self) -> &'a [u8] {
        let count = self.0.iter().take_while(|byte| **byte != b' ').count();
        let (token, rest) = self.0.split_at(count);
        self.0 = rest;
        token
    }

    fn skip(&mut self, count: usize) {
        self.0 = &self.0[count..];
    }
}
