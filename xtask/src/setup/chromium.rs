//! A browser without a window, to open the HTML report with: Chromium's `headless-shell` with the libraries and the fonts that it needs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::apt::Suite;
use crate::{cache, tool};

/// What it links to, at any depth, its fonts, and what makes it start with a C library of its own. With what Debian has them depend
/// on, drivers for graphics among it, the packages would be twice as many.
const PACKAGES: [&str; 70] = [
    "chromium-headless-shell",
    "chromium-common",
    "fontconfig-config",
    "fonts-dejavu-core",
    "patchelf",
    "libasound2t64",
    "libasyncns0",
    "libatk1.0-0t64",
    "libatomic1",
    "libatspi2.0-0t64",
    "libblkid1",
    "libbrotli1",
    "libbz2-1.0",
    "libc6",
    "libcap2",
    "libdav1d7",
    "libdbus-1-3",
    "libdouble-conversion3",
    "libdrm2",
    "libexpat1",
    "libffi8",
    "libflac14",
    "libfontconfig1",
    "libfreetype6",
    "libgbm1",
    "libgcc-s1",
    "libglib2.0-0t64",
    "libgraphite2-3",
    "libharfbuzz-subset0",
    "libharfbuzz0b",
    "libjpeg62-turbo",
    "liblcms2-2",
    "libminizip1t64",
    "libmount1",
    "libmp3lame0",
    "libmpg123-0t64",
    "libnspr4",
    "libnss3",
    "libogg0",
    "libopenh264-8",
    "libopenjp2-7",
    "libopus0",
    "libpcre2-8-0",
    "libpng16-16t64",
    "libpulse0",
    "libselinux1",
    "libsndfile1",
    "libsqlite3-0",
    "libstdc++6",
    "libsystemd0",
    "libudev1",
    "libvorbis0a",
    "libvorbisenc2",
    "libvulkan1",
    "libx11-6",
    "libx11-xcb1",
    "libxau6",
    "libxcb1",
    "libxcomposite1",
    "libxdamage1",
    "libxdmcp6",
    "libxext6",
    "libxfixes3",
    "libxi6",
    "libxkbcommon0",
    "libxnvctrl0",
    "libxrandr2",
    "libxrender1",
    "libzstd1",
    "zlib1g",
];

/// The program, ready to be run.
pub(crate) fn chromium() -> Result<PathBuf> {
    let folder = cache::piece("chromium", |folder| {
        Suite::open("trixie")?.unpack(&PACKAGES, folder)?;
        // Where it will be.
        let own = cache::root()?.join("chromium");
        let (here, there) = (folder.join("usr/lib/x86_64-linux-gnu"), own.join("usr/lib/x86_64-linux-gnu"));
        // It starts itself again for each page, by /proc/self/exe: that has to be the program, and not the loader of its libraries.
        let mut patchelf = Command::new(here.join("ld-linux-x86-64.so.2"));
        patchelf.arg("--library-path").arg(&here).arg(folder.join("usr/bin/patchelf"));
        patchelf.arg("--set-interpreter").arg(there.join("ld-linux-x86-64.so.2"));
        tool::output(patchelf.arg(folder.join("usr/lib/chromium/chromium-headless-shell")))?;
        let text = format!(
            "#!/bin/sh\nexport LD_LIBRARY_PATH={0}:{0}/pulseaudio FONTCONFIG_SYSROOT={1}\n\
             exec {1}/usr/lib/chromium/chromium-headless-shell \"$@\"\n",
            there.display(),
            own.display()
        );
        let script = folder.join("chromium");
        fs::write(&script, text).with_context(|| script.display().to_string())?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).with_context(|| script.display().to_string())
    })?;
    Ok(folder.join("chromium"))
}
