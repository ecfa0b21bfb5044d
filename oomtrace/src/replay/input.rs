//! Files as they come: plain, gzip or zstd, or standard input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    time::SystemTime,
};

use anyhow::Context as _;
use jiff::Timestamp;

use super::given::Given;
use crate::source::envelope::encoding::{Decoded, Utf16};

/// The longest line of text that is held in memory.
pub(super) const MAX_LINE_BYTES: usize = 16 << 20;
/// A file's time before this (2010, in seconds since 1970) says nothing of when it was written: archives that are built to be the same every time put
/// 1970 or 1980 there.
const NO_TIME: i64 = 1_262_304_000;

/// A file that is being read, whatever it is packed with.
pub(super) struct Input {
    pub(super) reader: Box<dyn BufRead>,
    /// When it was written last; now, of standard input.
    pub(super) latest: Timestamp,
    /// What it is packed with, in words.
    pub(super) packing: String,
}

impl Input {
    /// The first bytes, at most so many, which are read again.
    pub(super) fn peek(&mut self, path: &Given, most: u64) -> anyhow::Result<Vec<u8>> {
        let mut first = Vec::new();
        let read = (&mut self.reader).take(most).read_to_end(&mut first);
        read.with_context(|| format!("{path} cannot be read"))?;
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(io::Cursor::new(first.clone()).chain(rest));
        Ok(first)
    }

    /// All that there is, which is not read again.
    pub(super) fn take_all(&mut self, path: &Given) -> anyhow::Result<Vec<u8>> {
        let mut all = Vec::new();
        let read = self.reader.read_to_end(&mut all);
        read.with_context(|| format!("{path} cannot be read to its end"))?;
        Ok(all)
    }
}

/// Only one file can be standard input.
pub(super) fn one_stdin<const N: usize>(lists: [&Vec<Given>; N]) -> anyhow::Result<()> {
    let asked = lists.iter().flat_map(|list| list.iter()).filter(|file| file.is_stdin()).count();
    anyhow::ensure!(asked <= 1, "standard input (-) can be read once, and was given {asked} times");
    Ok(())
}

/// A file that can be read more than once: what comes from standard input, or a pipe, is held in memory.
pub(super) fn repeatable(file: Given) -> anyhow::Result<Given> {
    if file.is_file() || !(file.is_stdin() || file.path().is_some_and(std::path::Path::exists)) {
        return Ok(file);
    }
    let Input { mut reader, latest, .. } = open(&file)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).with_context(|| format!("{file} cannot be read to its end"))?;
    let name = if file.is_stdin() { "standard input".to_owned() } else { file.to_string() };
    Ok(Given::held(name, bytes, latest))
}

/// Opens a file, and unpacks it while it is read.
pub(super) fn open(path: &Given) -> anyhow::Result<Input> {
    let name = path;
    let (plain, written): (Box<dyn Read>, _) = match path {
        Given::Held(held) => (Box::new(held.reader()), held.written),
        Given::Path(_) if path.is_stdin() => (Box::new(io::stdin()), Timestamp::now()),
        Given::Path(path) => {
            let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
            let metadata = file.metadata().with_context(|| format!("{name} cannot be looked at"))?;
            anyhow::ensure!(!metadata.is_dir(), "{name} is a folder, and a file is needed here");
            let written = metadata.modified().unwrap_or_else(|_| SystemTime::now());
            (Box::new(file), Timestamp::try_from(written).unwrap_or(Timestamp::UNIX_EPOCH))
        }
    };
    let mut reader = BufReader::with_capacity(1 << 16, plain);
    let start = reader.fill_buf().with_context(|| format!("{name} cannot be read"))?;
    let (reader, packing): (Box<dyn BufRead>, _) = match start {
        [0x1f, 0x8b, ..] => (Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(reader))), ", gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => (Box::new(BufReader::new(Zstd::new(reader))), ", zstd"),
        _ => (Box::new(reader), ""),
    };
    let mut reader = reader;
    let start = reader.fill_buf().with_context(|| format!("{name} cannot be unpacked"))?;
    let (reader, packing): (Box<dyn BufRead>, _) = match Utf16::of(start) {
        Some(order) => (Box::new(BufReader::new(Decoded::new(reader, order))), format!("{packing}, UTF-16")),
        None => (reader, packing.to_owned()),
    };
    let latest = if written.as_second() < NO_TIME { Timestamp::now() } else { written };
    Ok(Input { reader, latest, packing })
}

/// All of a file.
pub(super) fn read_whole(path: &Given) -> anyhow::Result<(Vec<u8>, String)> {
    let Input { mut reader, packing, .. } = open(path)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).with_context(|| format!("{path} cannot be read to its end"))?;
    Ok((bytes, packing))
}

/// The frames of a zstd file, one after the other: the decoder reads one.
struct Zstd<R: BufRead> {
    frame: Option<ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
    rest: Option<R>,
}

impl<R: BufRead> Zstd<R> {
    fn new(reader: R) -> Self {
        Self { frame: None, rest: Some(reader) }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
                self.rest = self.frame.take().map(ruzstd::decoding::StreamingDecoder::into_inner);
            }
            let Some(mut rest) = self.rest.take() else { return Ok(0) };
            if rest.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let frame = ruzstd::decoding::StreamingDecoder::new(rest).map_err(io::Error::other)?;
            self.frame = Some(frame);
        }
    }
}

/// Reads lines, each with what number it has. What is too long is cut.
pub(super) fn lines(path: &Given, input: &mut Input, mut each: impl FnMut(u64, &[u8])) -> anyhow::Result<u64> {
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let limit = MAX_LINE_BYTES as u64;
        let read = (&mut input.reader).take(limit).read_until(b'\n', &mut line);
        if read.with_context(|| format!("{path} cannot be read beyond line {number}"))? == 0 {
            return Ok(number);
        }
        number += 1;
        each(number, &line);
        if line.len() == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            skip_line(&mut input.reader).with_context(|| format!("{path} cannot be read"))?;
        }
    }
}

/// Reads the first lines, each cut where it is long.
pub(super) fn first_lines(
    path: &Given,
    input: &mut Input,
    most: usize,
    mut each: impl FnMut(&[u8]),
) -> anyhow::Result<()> {
    let mut line = Vec::new();
    for _ in 0..most {
        line.clear();
        let read = (&mut input.reader).take(1 << 16).read_until(b'\n', &mut line);
        if read.with_context(|| format!("{path} cannot be read"))? == 0 {
            break;
        }
        each(&line);
    }
    Ok(())
}

/// Reads pieces, cut anywhere.
pub(super) fn pieces(path: &Given, input: &mut Input, mut each: impl FnMut(&[u8])) -> anyhow::Result<()> {
    loop {
        let piece = input.reader.fill_buf().with_context(|| format!("{path} cannot be read to its end"))?;
        if piece.is_empty() {
            return Ok(());
        }
        each(piece);
        let count = piece.len();
        input.reader.consume(count);
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        let count = end.unwrap_or(buffer.len());
        reader.consume(count);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: Vec<u8>) -> String {
        let mut text = String::new();
        Zstd::new(io::Cursor::new(bytes)).read_to_string(&mut text).expect("zstd");
        text
    }

    #[test]
    fn frames_of_a_zstd_file_are_read_one_after_the_other() {
        // `printf 'one\n' | zstd`, a frame with a raw block and no checksum.
        let frame = |text: &[u8; 4]| [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x04, 0x21, 0x00, 0x00][..], text].concat();
        assert_eq!(all([frame(b"one\n"), frame(b"two\n")].concat()), "one\ntwo\n");
    }
}
