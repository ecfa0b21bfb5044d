//! Each fuzz target with its seeds, and with seeds that were damaged: a short run of the fuzzer that needs none.

#[expect(unreachable_pub, reason = "a library of its own, compiled here as a module")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::{fs, path::Path};

/// How often each seed is damaged.
const DAMAGES: u32 = 60;
/// As much of a seed as is damaged: what is longer is slow, and no different.
const LONGEST: usize = 12 << 10;

/// Pseudo-random numbers, the same in each run: xorshift64 (George Marsaglia, 2003).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % sides.max(1)
    }
}

/// Damages bytes as disks, pipes and attackers do: cut, repeated, overwritten, put together wrong.
fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    const TOKENS: [&[u8]; 12] = [
        b"\0",
        b"\n",
        b"\"",
        b"\\",
        b"\x1b[31m",
        b"\xff\xfe",
        b"{",
        b"]",
        b"=",
        b"-1",
        b"18446744073709551616",
        b"\xe2\x80\xae",
    ];
    for _ in 0..=dice.throw(4) {
        let at = dice.throw(bytes.len());
        let len = dice.throw(64).min(bytes.len() - at);
        match dice.throw(6) {
            0 => drop(bytes.drain(at..at + len)),
            1 => bytes.truncate(at),
            2 => {
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let from = dice.throw(other.len());
                bytes.splice(at..at + len, other[from..(from + len).min(other.len())].iter().copied());
            }
            4 => drop(bytes.splice(at..at, TOKENS[dice.throw(TOKENS.len())].iter().copied())),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(dice.throw(256)).unwrap_or(0);
                }
            }
        }
    }
}

#[test]
fn no_seed_and_no_damaged_seed_breaks_a_promise() -> Result<(), Box<dyn std::error::Error>> {
    for (name, target) in targets::ALL {
        let mut files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>, std::io::Error>>()?;
        files.sort();
        assert!(!files.is_empty(), "{name} has no seeds");
        let seeds = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for (file, seed) in files.iter().zip(&seeds) {
            target(seed);
            for round in 0..DAMAGES {
                let from = if seed.len() > LONGEST { dice.throw(seed.len() - LONGEST) } else { 0 };
                let mut bytes = seed[from..(from + LONGEST).min(seed.len())].to_vec();
                damage(&mut bytes, &seeds[dice.throw(seeds.len())], &mut dice);
                let broken = std::panic::catch_unwind(|| target(&bytes));
                assert!(
                    broken.is_ok(),
                    "{name}: {}, damage {round}: {:?}",
                    file.display(),
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
    Ok(())
}
