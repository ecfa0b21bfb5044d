//! UTF-16, as a redirection in `PowerShell` writes it: read as UTF-8.

use std::io::{self, BufRead, Read};

/// The two orders of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Utf16 {
    /// The lower byte first: what Windows writes.
    Little,
    /// The higher byte first.
    Big,
}

/// So much of a file shows what it is.
const SAMPLE: usize = 512;

impl Utf16 {
    /// Whether bytes are text in UTF-16, by how they begin: by a byte order mark, or as every other byte is zero.
    #[must_use]
    pub fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0xff, 0xfe, ..] => return Some(Self::Little),
            [0xfe, 0xff, ..] => return Some(Self::Big),
            _ => {}
        }
        let start = &start[..start.len().min(SAMPLE) & !1];
        let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
        let (even, odd) = (zeros(0), zeros(1));
        let most = start.len() / 2 * 9 / 10;
        match (start.len() >= 8, odd > most && even == 0, even > most && odd == 0) {
            (true, true, _) => Some(Self::Little),
            (true, _, true) => Some(Self::Big),
            _ => None,
        }
    }
}

/// Reads UTF-16 as UTF-8. What is none is replaced by U+FFFD.
pub struct Decoded<R> {
    reader: R,
    order: Utf16,
    /// A byte without its other, and a unit without its other.
    byte: Option<u8>,
    unit: Option<u16>,
    text: Vec<u8>,
    at: usize,
    first: bool,
}

impl<R: BufRead> Decoded<R> {
    /// Reads what is left of `reader`.
    pub fn new(reader: R, order: Utf16) -> Self {
        Self { reader, order, byte: None, unit: None, text: Vec::new(), at: 0, first: true }
    }

    fn decode(&mut self, bytes: &[u8]) {
        let bytes = self.byte.take().into_iter().chain(bytes.iter().copied()).collect::<Vec<u8>>();
        let (pairs, rest) = bytes.as_chunks::<2>();
        self.byte = rest.first().copied();
        let order = self.order;
        let units = pairs.iter().map(|pair| match order {
            Utf16::Little => u16::from_le_bytes(*pair),
            Utf16::Big => u16::from_be_bytes(*pair),
        });
        let mut units: Vec<u16> = self.unit.take().into_iter().chain(units).collect();
        if units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.unit = units.pop();
        }
        for decoded in char::decode_utf16(units) {
            let decoded = decoded.unwrap_or(char::REPLACEMENT_CHARACTER);
            if std::mem::take(&mut self.first) && decoded == '\u{feff}' {
                continue;
            }
            self.text.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            self.text.clear();
            self.at = 0;
            let piece = self.reader.fill_buf()?.to_vec();
            if piece.is_empty() {
                return Ok(0);
            }
            self.reader.consume(piece.len());
            self.decode(&piece);
        }
        let count = buffer.len().min(self.text.len() - self.at);
        buffer[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_order_is_read_with_a_mark_or_without() {
        let text = "[ 1.5] Ünit 🙂\r\nnext";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for (bytes, order) in
            [([&[0xff, 0xfe][..], &little].concat(), Utf16::Little), ([&[0xfe, 0xff][..], &big].concat(), Utf16::Big)]
        {
            assert_eq!(Utf16::of(&bytes), Some(order));
            let mut read = String::new();
            // One byte at a time: a pair is cut anywhere.
            let reader = io::BufReader::with_capacity(1, &bytes[..]);
            Decoded::new(reader, order).read_to_string(&mut read).expect("text");
            assert_eq!(read, text);
        }
        let plain = |text: &str| text.bytes().flat_map(|byte| [byte, 0]).collect::<Vec<u8>>();
        assert_eq!(Utf16::of(&plain("[ 1000.000000] a")), Some(Utf16::Little));
        for other in [&b"[ 1000.000000] a"[..], b"", b"\0\0\0\0\0\0\0\0\0\0", b"a\0b\0"] {
            assert_eq!(Utf16::of(other), None);
        }
        // More than nine tenths of the characters are of one byte.
        let tenths = |high: usize| (0..20).map(|at| u8::from(at % 2 == 0 || at / 2 >= high)).collect::<Vec<u8>>();
        assert_eq!([9, 10].map(|high| Utf16::of(&tenths(high))), [None, Some(Utf16::Little)]);
    }
}
