//! The folder that downloads live in, shared by every work tree of this user: `$OOMTRACE_CACHE`, else
//! `$XDG_CACHE_HOME/oomtrace`, else `~/.cache/oomtrace`.
//!
//! It holds *pieces* (`qemu`, `kernels/6.1`, …). A piece is there whole or not at all: it is made in a folder of its
//! own and renamed into place, so an interrupted setup leaves nothing that looks finished. A lock per piece lets two
//! setups run at once: the second waits, and then finds the piece present.

use std::{
    env,
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};

/// Where the cache is. It may not exist yet.
pub(crate) fn root() -> Result<PathBuf> {
    let named = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = named("OOMTRACE_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join("oomtrace")))
        .or_else(|| named("HOME").map(|folder| folder.join(".cache/oomtrace")))
        .context("no place for downloads: set OOMTRACE_CACHE to a folder (HOME is not set either)")?;
    std::path::absolute(&root).with_context(|| format!("cannot make {} absolute", root.display()))
}

/// The folder of the piece `name`; `make` is called with an empty folder to fill if there is none yet.
pub(crate) fn piece(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = root()?.join(name);
    publish(&folder, name, make)?;
    Ok(folder)
}

/// Makes `folder` appear at once and whole, unless it is there already. Says on standard error what it did.
pub(crate) fn publish(folder: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let _lock = lock(folder, name)?;
    if folder.exists() {
        return Ok(());
    }
    eprintln!("setup: {name}: fetching");
    let started = Instant::now();
    let partial = folder.with_added_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot clear away {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    make(&partial).with_context(|| format!("setup: cannot get {name}"))?;
    fs::rename(&partial, folder)
        .with_context(|| format!("cannot rename {} to {}", partial.display(), folder.display()))?;
    let (size, seconds) = (megabytes(folder)?, started.elapsed().as_secs_f32());
    eprintln!("setup: {name}: ready in {seconds:.1} s, {size:.1} MB in {}", folder.display());
    Ok(())
}

/// Holds off every other setup of `folder` until dropped. The kernel releases it if we are killed.
pub(crate) fn lock(folder: &Path, name: &str) -> Result<File> {
    let path = folder.with_added_extension("lock");
    let parent = path.parent().unwrap_or(&path);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot create the lock {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("setup: {name}: waiting for another setup to finish it");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

/// The size of a folder's files, as setup reports it.
pub(crate) fn megabytes(folder: &Path) -> Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a size for people, to a tenth of a megabyte")]
    Ok(bytes(folder).with_context(|| format!("cannot measure {}", folder.display()))? as f64 / 1e6)
}

fn bytes(path: &Path) -> std::io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        // What a sparse file takes, in blocks as stat(2) counts them.
        return Ok(metadata.len().min(metadata.blocks() * 512));
    }
    fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_whose_making_failed_does_not_count_as_present() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().join("thing");
        let failed = publish(&folder, "thing", |partial| {
            fs::write(partial.join("half"), "half")?;
            anyhow::bail!("the network went away")
        });
        assert!(failed.is_err());
        assert!(!folder.exists());

        publish(&folder, "thing", |partial| {
            assert!(!partial.join("half").exists(), "leftovers of the failed try must be gone");
            Ok(fs::write(partial.join("whole"), "whole")?)
        })?;
        assert!(folder.join("whole").exists());
        Ok(())
    }

    #[test]
    fn a_piece_that_is_present_is_not_made_again() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        publish(scratch.path(), "thing", |_| anyhow::bail!("made again"))
    }
}
