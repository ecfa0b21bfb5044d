//! Text of a data object that is compressed.

use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;

use super::file::Damage;

/// `OBJECT_COMPRESSED_*`: how an object is compressed.
const XZ: u8 = 1;
const LZ4: u8 = 1 << 1;
const ZSTD: u8 = 1 << 2;
/// All there can be.
pub(super) const COMPRESSED: u8 = XZ | LZ4 | ZSTD;

/// No frame of journald's needs more of what came before: `ZSTD_compress` at its usual level.
const MOST_WINDOW_LOG: u8 = 23;

/// Unpacks a text of at most `most` bytes.
pub(super) fn unpack(flags: u8, packed: &[u8], most: usize) -> Result<Vec<u8>, Damage> {
    match flags & COMPRESSED {
        LZ4 => lz4(packed, most),
        ZSTD => zstd(packed, most),
        XZ => Err(Damage::Xz),
        _ => Err(Damage::Compression(flags)),
    }
}

/// Eight bytes with the size, and one block.
fn lz4(packed: &[u8], most: usize) -> Result<Vec<u8>, Damage> {
    let torn = Damage::Torn("a text compressed with LZ4");
    let (size, block) = packed.split_at_checked(8).ok_or(torn)?;
    let size = size.try_into().map_or(u64::MAX, u64::from_le_bytes);
    let size = usize::try_from(size).ok().filter(|size| *size <= most).ok_or(Damage::TooLarge)?;
    lz4_flex::block::decompress(block, size).map_err(|_| torn)
}

/// One frame. systemd's says how large its content is.
fn zstd(packed: &[u8], most: usize) -> Result<Vec<u8>, Damage> {
    let torn = Damage::Torn("a text compressed with Zstandard");
    // Behind the magic number: a descriptor, and the window, if that is not the content (RFC 8878, 3.1.1.1).
    let (descriptor, window) = (packed.get(4).ok_or(torn)?, packed.get(5).ok_or(torn)?);
    if descriptor & 0x20 == 0 && 10 + (window >> 3) > MOST_WINDOW_LOG {
        return Err(Damage::TooLarge);
    }
    let frame = StreamingDecoder::new(packed).map_err(|_| torn)?;
    if frame.decoder.content_size() > most as u64 {
        return Err(Damage::TooLarge);
    }
    let mut text = Vec::new();
    frame.take(most as u64 + 1).read_to_end(&mut text).map_err(|_| torn)?;
    if text.len() > most { Err(Damage::TooLarge) } else { Ok(text) }
}
