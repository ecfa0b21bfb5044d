//! The running kernel's type information (BTF): just enough of it to find fields, enumerators and functions.
//!
//! Everything is read in place from `/sys/kernel/btf/vmlinux` (4 to 6 MB): nothing is kept afterwards.
//! Format: <https://docs.kernel.org/bpf/btf.html>.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use oomtrace_common::layout::{KernelLayout, Lookup};

/// Why BTF could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel offers none, or it may not be read.
    #[error("{path}: {source}; the kernel needs CONFIG_DEBUG_INFO_BTF=y")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not BTF of this machine's byte order.
    #[error("not BTF: {0}")]
    Malformed(&'static str),
    /// A type of a kind that this program does not know: how long it is, and so where the next one begins, is not known either.
    #[error("BTF has a type of kind {0}, which this version of oomtrace does not know; a newer one may")]
    UnknownKind(u32),
}

/// `BTF_KIND_*`, `include/uapi/linux/btf.h`.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

const MAGIC: u16 = 0xeb9f;
/// How deep anonymous structs and typedefs may nest before the data is taken for a loop.
const MAX_NESTING: u32 = 32;

/// BTF of these types and strings.
fn assemble(types: &[u8], strings: &[u8]) -> Vec<u8> {
    const HEADER_LEN: u32 = 24;
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    // Version 1, no flags; the types come first.
    let header = [u32::from(MAGIC) | 1 << 16, HEADER_LEN, 0, len(types), len(types), len(strings)];
    header.iter().flat_map(|word| word.to_ne_bytes()).chain(types.iter().chain(strings).copied()).collect()
}

/// A kernel's types.
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type starts in `bytes`; type 0 is `void`.
    types: Vec<u32>,
    strings: usize,
}

/// One type: where it starts and what its head says.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    /// Number of members, values or parameters.
    len: usize,
    /// Members carry the size of a bit field.
    bitfields: bool,
    /// Size in bytes, or the type that this one refers to.
    size_or_target: u32,
}

impl Btf {
    /// Reads the running kernel's types.
    ///
    /// # Errors
    ///
    /// Fails where this kernel has no BTF, or it cannot be read.
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new("/sys/kernel/btf/vmlinux"))
    }

    fn read(path: &Path) -> Result<Self, BtfError> {
        let bytes = fs::read(path).map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Self::parse(bytes)
    }

    /// Indexes the types in `bytes`.
    ///
    /// # Errors
    ///
    /// Fails where the bytes are no BTF.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).ok_or(BtfError::Malformed("the header is cut short"))?;
            Ok::<_, BtfError>(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]) as usize)
        };
        if word(0)? & 0xffff != usize::from(MAGIC) {
            return Err(BtfError::Malformed("wrong magic number or byte order"));
        }
        let header = word(4)?;
        let (types_at, types_len) = (header + word(8)?, word(12)?);
        let (strings, strings_len) = (header + word(16)?, word(20)?);
        if types_at + types_len > bytes.len() || strings + strings_len > bytes.len() {
            return Err(BtfError::Malformed("a section ends behind the end of the file"));
        }
        let mut btf = Self { bytes, types: vec![0], strings };
        let mut at = types_at;
        while at < types_at + types_len {
            let head = btf.head(at).ok_or(BtfError::Malformed("a type is cut short"))?;
            btf.types.push(u32::try_from(at).map_err(|_| BtfError::Malformed("larger than 4 GiB"))?);
            at += 12
                + match head.kind {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * head.len,
                    kind::ENUM | kind::FUNC_PROTO => 8 * head.len,
                    kind::PTR
                    | kind::FWD
                    | kind::TYPEDEF
                    | kind::VOLATILE
                    | kind::CONST
                    | kind::RESTRICT
                    | kind::FUNC
                    | kind::FLOAT
                    | kind::TYPE_TAG => 0,
                    unknown => return Err(BtfError::UnknownKind(unknown)),
                };
        }
        Ok(btf)
    }

    /// Where this kernel keeps what the probes read.
    #[must_use]
    pub fn layout(&self) -> KernelLayout {
        // One pass for the structs of all lookups: there are some 150,000 types.
        let wanted: HashSet<&str> = KernelLayout::LOOKUPS
            .iter()
            .filter_map(|(_, lookup)| match lookup {
                Lookup::Member(of, _) | Lookup::Size(of) => Some(*of),
                Lookup::Enumerator(..) => None,
            })
            .collect();
        let mut structs: HashMap<&str, Vec<u32>> = HashMap::new();
        for (id, head) in self.all().filter(|(_, head)| matches!(head.kind, kind::STRUCT | kind::UNION)) {
            if let Some(name) = self.name(head.name).and_then(|name| wanted.get(name)) {
                structs.entry(name).or_default().push(id);
            }
        }
        let of = |name: &str| structs.get(name).cloned().unwrap_or_default();
        KernelLayout::resolve(|lookup| match lookup {
            Lookup::Member(name, path) => of(name).into_iter().find_map(|id| self.path(id, path)),
            Lookup::Size(name) => of(name).into_iter().find_map(|id| Some(self.get(id)?.size_or_target)),
            Lookup::Enumerator(name, enumerator) => self.enumerator(name, enumerator),
        })
    }

    /// The byte offset of a member behind a path of member names.
    fn path(&self, id: u32, path: &str) -> Option<u32> {
        let mut offset = 0;
        let mut inside = id;
        for names in path.split('.') {
            let (at, member) = names.split('|').find_map(|name| self.member(inside, name, MAX_NESTING))?;
            offset += at;
            inside = member;
        }
        Some(offset)
    }

    fn name(&self, name: u32) -> Option<&str> {
        let from = self.bytes.get(self.strings + name as usize..)?;
        str::from_utf8(&from[..from.iter().position(|byte| *byte == 0)?]).ok()
    }

    /// One offset, size or enumerator.
    #[must_use]
    pub fn find(&self, lookup: Lookup) -> Option<u32> {
        match lookup {
            Lookup::Member(of, path) => self.structs(of).find_map(|id| self.path(id, path)),
            Lookup::Enumerator(of, name) => self.enumerator(of, name),
            Lookup::Size(of) => self.structs(of).next().and_then(|id| Some(self.get(id)?.size_or_target)),
        }
    }

    /// These functions, each with the id that it has in the kernel; every other type is a nameless forward declaration.
    ///
    /// aya finds the function of an fentry program by its name and keeps nothing but the id, yet it would take the kernel's
    /// whole BTF apart for that, into millions of small allocations.
    ///
    /// # Errors
    ///
    /// Fails where aya does not take what is made here.
    pub fn functions(&self, names: &[&str]) -> Result<aya::Btf, BtfError> {
        let mut types = Vec::with_capacity(12 * self.types.len());
        let mut strings = vec![0];
        for (_, head) in self.all() {
            let name = names.iter().find(|name| head.kind == kind::FUNC && self.is_named(head.name, name));
            let words = match name {
                Some(name) => {
                    let at = u32::try_from(strings.len()).unwrap_or(0);
                    strings.extend(name.bytes().chain([0]));
                    [at, kind::FUNC << 24, head.size_or_target]
                }
                None => [0, kind::FWD << 24, 0],
            };
            types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        aya::Btf::parse(&assemble(&types, &strings), aya::Endianness::default())
            .map_err(|_| BtfError::Malformed("its functions cannot be taken apart"))
    }

    /// Whether the first argument of a tracepoint is a `struct task_struct *`.
    #[must_use]
    pub fn tracepoint_gives_task(&self, name: &str) -> bool {
        let typedef = format!("btf_trace_{name}");
        self.all()
            .find(|(_, head)| head.kind == kind::TYPEDEF && self.is_named(head.name, &typedef))
            .and_then(|(_, head)| self.get(self.pointee(head.size_or_target)?))
            .filter(|prototype| prototype.kind == kind::FUNC_PROTO && prototype.len >= 2)
            // Parameter 0 is the tracepoint's own data.
            .and_then(|prototype| self.pointee(self.word(prototype.at + 12 + 8 + 4)?))
            .and_then(|id| self.get(id))
            .is_some_and(|target| target.kind == kind::STRUCT && self.is_named(target.name, "task_struct"))
    }

    fn word(&self, at: usize) -> Option<u32> {
        let word = self.bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
    }

    fn head(&self, at: usize) -> Option<Type> {
        let info = self.word(at + 4)?;
        Some(Type {
            at,
            name: self.word(at)?,
            kind: info >> 24 & 0x1f,
            len: (info & 0xffff) as usize,
            bitfields: info >> 31 == 1,
            size_or_target: self.word(at + 8)?,
        })
    }

    fn get(&self, id: u32) -> Option<Type> {
        self.types.get(id as usize).filter(|_| id != 0).and_then(|at| self.head(*at as usize))
    }

    fn all(&self) -> impl Iterator<Item = (u32, Type)> {
        (1..).zip(self.types.iter().skip(1)).filter_map(|(id, at)| Some((id, self.head(*at as usize)?)))
    }

    fn is_named(&self, name: u32, expected: &str) -> bool {
        let at = self.strings + name as usize;
        let end = at + expected.len();
        self.bytes.get(at..end) == Some(expected.as_bytes()) && self.bytes.get(end) == Some(&0)
    }

    fn structs(&self, name: &'static str) -> impl Iterator<Item = u32> {
        self.all()
            .filter(move |(_, head)| matches!(head.kind, kind::STRUCT | kind::UNION) && self.is_named(head.name, name))
            .map(|(id, _)| id)
    }

    /// What a type is, behind its typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Option<(u32, Type)> {
        for _ in 0..MAX_NESTING {
            let head = self.get(id)?;
            match head.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = head.size_or_target;
                }
                _ => return Some((id, head)),
            }
        }
        None
    }

    /// What a pointer points to, behind typedefs and qualifiers on both sides.
    fn pointee(&self, id: u32) -> Option<u32> {
        let (_, pointer) = self.strip(id)?;
        if pointer.kind != kind::PTR {
            return None;
        }
        self.strip(pointer.size_or_target).map(|(id, _)| id)
    }

    /// Offset in bytes and type of a member of a struct, also of one inside an anonymous struct or union.
    fn member(&self, id: u32, name: &str, nesting: u32) -> Option<(u32, u32)> {
        let (_, head) = self.strip(id)?;
        if !matches!(head.kind, kind::STRUCT | kind::UNION) || nesting == 0 {
            return None;
        }
        (0..head.len).find_map(|index| {
            let at = head.at + 12 + 12 * index;
            let (member_name, member_type, place) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let (bits, bitfield) =
                if head.bitfields { (place & 0x00ff_ffff, place >> 24 != 0) } else { (place, false) };
            if self.is_named(member_name, name) {
                // A bit field has no address.
                return (!bitfield).then_some((bits / 8, member_type));
            }
            if self.is_named(member_name, "") {
                let (offset, inner) = self.member(member_type, name, nesting - 1)?;
                return Some((bits / 8 + offset, inner));
            }
            None
        })
    }

    /// The value of an enumerator; an empty name of the enum stands for any.
    fn enumerator(&self, of: &str, name: &str) -> Option<u32> {
        self.all()
            .filter(|(_, head)| {
                matches!(head.kind, kind::ENUM | kind::ENUM64) && (of.is_empty() || self.is_named(head.name, of))
            })
            .find_map(|(_, head)| {
                let stride = if head.kind == kind::ENUM { 8 } else { 12 };
                (0..head.len).map(|index| head.at + 12 + stride * index).find_map(|at| {
                    self.word(at)
                        .is_some_and(|value_name| self.is_named(value_name, name))
                        .then(|| self.word(at + 4))?
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF by hand, since no small real one exists: type words and a string table.
    fn by_hand(words: &[u32], strings: &str) -> Vec<u8> {
        assemble(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>(), strings.as_bytes())
    }

    const fn info(kind: u32, len: u32, bitfields: bool) -> u32 {
        kind << 24 | len | (bitfields as u32) << 31
    }

    #[test]
    fn members_are_found_in_anonymous_structs_behind_typedefs_and_beside_bit_fields() -> Result<(), BtfError> {
        // Offsets of the strings: "" 0, "outer" 1, "plain" 7, "bits" 13, "t" 18, "named" 20.
        let strings = "\0outer\0plain\0bits\0t\0named\0";
        let btf = Btf::parse(by_hand(
            &[
                // 1: anonymous struct { plain at byte 8 }
                0,
                info(kind::STRUCT, 1, false),
                16,
                7,
                0,
                64,
                // 2: typedef t = 1
                18,
                info(kind::TYPEDEF, 0, false),
                1,
                // 3: struct outer { bits:3 at bit 5, anonymous 1 at byte 16, named: t at byte 32 }
                1,
                info(kind::STRUCT, 3, true),
                64,
                13,
                0,
                3 << 24 | 5,
                0,
                1,
                128,
                20,
                2,
                256,
            ],
            strings,
        ))?;
        assert_eq!(btf.find(Lookup::Member("outer", "plain")), Some(24));
        assert_eq!(btf.find(Lookup::Member("outer", "named.plain")), Some(40));
        assert_eq!(btf.find(Lookup::Member("outer", "gone|named.plain")), Some(40));
        assert_eq!(btf.find(Lookup::Member("outer", "bits")), None);
        assert_eq!(btf.find(Lookup::Member("outer", "absent")), None);
        assert_eq!(btf.find(Lookup::Size("outer")), Some(64));
        Ok(())
    }

    #[test]
    fn enumerators_are_found_by_name_in_either_width() -> Result<(), BtfError> {
        // "" 0, "e" 1, "A" 3, "B" 5
        let strings = "\0e\0A\0B\0";
        let btf = Btf::parse(by_hand(
            &[0, info(kind::ENUM64, 1, false), 8, 3, 7, 0, 1, info(kind::ENUM, 2, false), 4, 3, 1, 5, 2],
            strings,
        ))?;
        assert_eq!(btf.find(Lookup::Enumerator("", "A")), Some(7));
        assert_eq!(btf.find(Lookup::Enumerator("e", "A")), Some(1));
        assert_eq!(btf.find(Lookup::Enumerator("e", "B")), Some(2));
        assert_eq!(btf.find(Lookup::Enumerator("e", "C")), None);
        Ok(())
    }

    #[test]
    fn a_type_of_an_unknown_kind_is_an_error_that_names_the_kind() {
        // As a later kernel may have it, with data behind its head: the struct must not be looked for there.
        let words = [0, info(20, 1, false), 0, 7, 1, info(kind::STRUCT, 0, false), 8];
        let error = Btf::parse(by_hand(&words, "\0s\0")).err().expect("an error");
        assert!(matches!(error, BtfError::UnknownKind(20)) && error.to_string().contains("kind 20"), "{error}");
        assert!(Btf::parse(by_hand(&[0, info(0, 0, false), 0], "\0")).is_err(), "there is no kind 0");
        for known in [kind::PTR, kind::FWD, kind::FLOAT, kind::TYPE_TAG] {
            assert!(Btf::parse(by_hand(&[0, info(known, 0, false), 4], "\0")).is_ok(), "kind {known}");
        }
    }

    #[test]
    fn bytes_that_are_not_btf_are_refused_and_cut_ones_too() {
        assert!(Btf::parse(Vec::new()).is_err());
        assert!(Btf::parse(vec![0; 64]).is_err());
        let whole = by_hand(&[1, info(kind::STRUCT, 1, false), 8, 0, 0, 0], "\0s\0");
        for len in 0..whole.len() {
            assert!(Btf::parse(whole[..len].to_vec()).is_err(), "{len} of {} bytes", whole.len());
        }
    }

    #[test]
    fn a_function_keeps_its_id_where_everything_else_has_lost_its_name() -> Result<(), Box<dyn std::error::Error>> {
        // "" 0, "s" 1, "other" 3, "wanted" 9
        let strings = "\0s\0other\0wanted\0";
        #[rustfmt::skip]
        let words = [
            1, info(kind::STRUCT, 1, false), 8, 0, 0, 0,
            0, info(kind::FUNC_PROTO, 0, false), 0,
            3, info(kind::FUNC, 0, false), 2,
            9, info(kind::FUNC, 0, false), 2,
        ];
        let btf = Btf::parse(by_hand(&words, strings))?.functions(&["wanted", "absent"])?;
        assert_eq!(btf.id_by_type_name_kind("wanted", aya_obj::btf::BtfKind::Func)?, 4);
        assert!(btf.id_by_type_name_kind("other", aya_obj::btf::BtfKind::Func).is_err());
        Ok(())
    }
}
