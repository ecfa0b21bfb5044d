//! The outermost wrapping of a Debian package: an archive of three files, in the form of ar(5).

/// An archive in the making.
pub(super) struct Ar {
    bytes: Vec<u8>,
    date: u64,
}

impl Ar {
    pub(super) fn new(date: u64) -> Self {
        Self { bytes: b"!<arch>\n".to_vec(), date }
    }

    /// Adds a file of root's. Its name may have 16 characters.
    pub(super) fn member(&mut self, name: &str, content: &[u8]) {
        let Self { bytes, date } = self;
        let (owner, group, mode, size) = (0, 0, "100644", content.len());
        bytes.extend(format!("{name:<16}{date:<12}{owner:<6}{group:<6}{mode:<8}{size:<10}`\n").bytes());
        bytes.extend(content);
        if !size.is_multiple_of(2) {
            bytes.push(b'\n');
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
