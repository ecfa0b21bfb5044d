//! Writes the guest's first file system: a cpio archive in the "newc" form, which the kernel unpacks into memory.
//!
//! The form is the kernel's own: <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Component, Path},
};

use anyhow::{Context as _, Result, ensure};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// Of `mode`, what kind of file it is: as in `st_mode`, see inode(7).
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive being written. Paths are absolute, as in the guest; the folders on the way are made.
pub(crate) struct Initramfs {
    archive: BufWriter<File>,
    /// How much has been written: entries start at multiples of four.
    length: u64,
    /// Each entry has an inode number of its own: two with the same would be hard links.
    inode: u32,
    folders: Vec<std::path::PathBuf>,
}

impl Initramfs {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let archive = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { archive: BufWriter::new(archive), length: 0, inode: 0, folders: Vec::new() })
    }

    /// A file with these bytes.
    pub(crate) fn file(&mut self, guest: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        self.parents(guest)?;
        self.entry(guest, REGULAR | mode, bytes.len() as u64, &mut &*bytes)
    }

    /// An empty folder, with those that it is in.
    pub(crate) fn folder(&mut self, guest: &Path) -> Result<()> {
        self.parents(&guest.join("entry"))
    }

    /// A file of the host, or a folder with all that is in it. Symbolic links stay links; sockets, devices and pipes
    /// are left out.
    pub(crate) fn copy(&mut self, host: &Path, guest: &Path) -> Result<()> {
        self.parents(guest)?;
        self.copy_below(host, guest).with_context(|| format!("cannot put {} into the guest", host.display()))
    }

    fn copy_below(&mut self, host: &Path, guest: &Path) -> Result<()> {
        let metadata = fs::symlink_metadata(host)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            self.entry(guest, FOLDER | mode, 0, &mut io::empty())?;
            let mut names = fs::read_dir(host)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
            names.sort();
            for name in names {
                self.copy_below(&host.join(&name), &guest.join(&name))
                    .with_context(|| format!("at {}", host.join(&name).display()))?;
            }
        } else if metadata.is_symlink() {
            let target = fs::read_link(host)?;
            let target = target.as_os_str().as_bytes();
            self.entry(guest, LINK | mode, target.len() as u64, &mut &*target)?;
        } else if metadata.is_file() {
            self.entry(guest, REGULAR | mode, metadata.len(), &mut File::open(host)?)?;
        }
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.entry(Path::new(TRAILER), 0, 0, &mut io::empty())?;
        self.archive.flush().context("cannot write the initramfs")
    }

    fn parents(&mut self, guest: &Path) -> Result<()> {
        let mut folders: Vec<_> = guest.ancestors().skip(1).map(Path::to_path_buf).collect();
        folders.reverse();
        for folder in folders {
            if folder.components().any(|part| matches!(part, Component::Normal(_))) && !self.folders.contains(&folder) {
                self.entry(&folder, FOLDER | 0o755, 0, &mut io::empty())?;
                self.folders.push(folder);
            }
        }
        Ok(())
    }

    fn entry(&mut self, guest: &Path, mode: u32, size: u64, content: &mut dyn io::Read) -> Result<()> {
        let name = guest.strip_prefix("/").unwrap_or(guest).as_os_str().as_bytes();
        let size = u32::try_from(size).context("a file of 4 GiB or more does not fit into an initramfs")?;
        self.inode += 1;
        let (owner, links, time, device) = (0, 1, 0, 0);
        let header = [self.inode, mode, owner, owner, links, time, size, device, device, device, device];
        let header = header.map(|field| format!("{field:08x}")).concat();
        // The name's terminating zero counts; the checksum is for another form of the archive.
        self.write(format!("{MAGIC}{header}{:08x}{:08x}", name.len() + 1, 0).as_bytes())?;
        self.write(name)?;
        self.write(b"\0")?;
        self.align()?;
        let copied = io::copy(&mut io::Read::take(content, u64::from(size)), &mut self.archive)?;
        ensure!(copied == u64::from(size), "it shrank while it was read");
        self.length += copied;
        self.align()
    }

    fn align(&mut self) -> Result<()> {
        while !self.length.is_multiple_of(4) {
            self.write(b"\0")?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len() as u64;
        self.archive.write_all(bytes).context("cannot write the initramfs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_aligned_headers_names_and_contents_with_a_trailer() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("initramfs");
        let mut initramfs = Initramfs::create(&path)?;
        initramfs.file(Path::new("/vm/settings"), 0o644, b"hello")?;
        initramfs.finish()?;

        let folder = "07070100000001000041ed00000000000000000000000100000000000000000000000000000000000000000000000000000003\
                      00000000vm\0\0\0\0";
        let file = "07070100000002000081a400000000000000000000000100000000000000050000000000000000000000000000000000000\
                    00c00000000vm/settings\0\0\0hello\0\0\0";
        let trailer = "0707010000000300000000000000000000000000000001000000000000000000000000000000000000000000000000000\
                       0000b00000000TRAILER!!!\0\0\0\0";
        assert_eq!(fs::read_to_string(&path)?, [folder, file, trailer].concat());
        Ok(())
    }
}
