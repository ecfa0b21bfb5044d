//! The two hashes of a file's index: `journal_file_hash_data`, `src/libsystemd/sd-journal/journal-file.c`.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

/// `SipHash` with the file's id as its key, since systemd 246.
pub(super) fn keyed(data: &[u8], file_id: &[u8; 16]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(file_id);
    hasher.write(data);
    hasher.finish()
}

/// Bob Jenkins' `hashlittle2` of lookup3, as it is used without keys.
pub(super) fn jenkins(data: &[u8]) -> u64 {
    let start = 0xdead_beef_u32.wrapping_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
    let mut state = [start; 3];
    let mut rest = data;
    while rest.len() > 12 {
        add(&mut state, &rest[..12]);
        mix(&mut state);
        rest = &rest[12..];
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        last(&mut state);
    }
    let [_, b, c] = state;
    u64::from(c) << 32 | u64::from(b)
}

/// Up to twelve bytes, as if zeros came after.
fn add(state: &mut [u32; 3], bytes: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(bytes.chunks(4)) {
        let mut four = [0; 4];
        four[..bytes.len()].copy_from_slice(bytes);
        *word = word.wrapping_add(u32::from_le_bytes(four));
    }
}

fn mix([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, by: &mut u32, other: u32, rotate: u32| {
        *x = x.wrapping_sub(*by) ^ by.rotate_left(rotate);
        *by = by.wrapping_add(other);
    };
    step(a, c, *b, 4);
    step(b, a, *c, 6);
    step(c, b, *a, 8);
    step(a, c, *b, 16);
    step(b, a, *c, 19);
    step(c, b, *a, 4);
}

fn last([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, by: u32, rotate: u32| *x = (*x ^ by).wrapping_sub(by.rotate_left(rotate));
    step(c, *b, 14);
    step(a, *c, 11);
    step(b, *a, 25);
    step(c, *b, 16);
    step(a, *c, 4);
    step(b, *a, 14);
    step(c, *b, 24);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_their_authors_examples() {
        // lookup3.c, `driver5`, and the SipHash paper's appendix A.
        let phrase = b"Four score and seven years ago";
        assert_eq!(jenkins(phrase) >> 32, 0x1777_0551);
        assert_eq!(jenkins(b""), 0xdead_beef_dead_beef);
        let bytes: Vec<u8> = (0..16).collect();
        let key: [u8; 16] = bytes.clone().try_into().expect("sixteen");
        assert_eq!(keyed(&bytes[..15], &key), 0xa129_ca61_49be_45e5);
    }
}
