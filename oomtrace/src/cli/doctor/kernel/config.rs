//! The configuration that the running kernel was built with, where it is kept.

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

use flate2::read::GzDecoder;

/// A configuration, and where it is from.
pub(super) struct Config {
    text: String,
    pub(super) from: String,
}

/// It is kept nowhere.
#[derive(Debug, thiserror::Error)]
#[error("not known: none of {0} can be read; in a container, mount the host's /boot")]
pub(super) struct NotKept(String);

/// No kernel's is nearly so large.
const LARGEST: u64 = 4 << 20;

impl Config {
    /// `/proc/config.gz` (`CONFIG_IKCONFIG_PROC`), or where distributions keep it.
    pub(super) fn of_running_kernel(release: &str) -> Result<Self, NotKept> {
        let kept = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
        let compressed = "/proc/config.gz".to_owned();
        let read = || unpacked(&compressed).ok().map(|text| (text, compressed.clone()));
        let plain = || kept.iter().find_map(|path| Some((fs::read_to_string(path).ok()?, path.clone())));
        match read().or_else(plain) {
            Some((text, from)) => Ok(Self { text, from }),
            None => Err(NotKept([&[compressed], &kept[..]].concat().join(", "))),
        }
    }

    /// Whether an option is `y`.
    pub(super) fn is_built_in(&self, option: &str) -> bool {
        self.text.lines().any(|line| line.strip_prefix(option) == Some("=y"))
    }
}

fn unpacked(path: &str) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(File::open(path)?).take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_built_in_where_it_says_so_itself() {
        let text = "# CONFIG_PSI is not set\nCONFIG_MEMCG=y\nCONFIG_KPROBES_ON_FTRACE=y\nCONFIG_X=m\n".to_owned();
        let config = Config { text, from: "here".to_owned() };
        let built_in: Vec<_> = ["CONFIG_MEMCG", "CONFIG_PSI", "CONFIG_KPROBES", "CONFIG_X"]
            .into_iter()
            .filter(|option| config.is_built_in(option))
            .collect();
        assert_eq!(built_in, ["CONFIG_MEMCG"]);
    }

    #[test]
    fn a_kernel_whose_configuration_is_kept_nowhere_is_said_with_the_places() {
        // A container's kernel may have one in /proc all the same.
        if let Err(error) = Config::of_running_kernel("no such release") {
            assert!(error.to_string().contains("/boot/config-no such release"), "{error}");
        }
    }
}
