//! Paths of cgroups, which arrive before the records that name their ids.

use std::collections::{HashMap, VecDeque};

use super::{decode::CgroupPath, machine::known};
use crate::{event::Cgroup, node::cgroup_path::CgroupIdentity};

/// How many are remembered. The probes do not send a path again within a second, of up to 512 cgroups at a time.
const REMEMBERED: usize = 2048;

/// The paths of cgroups, by their ids.
#[derive(Default)]
pub struct Paths {
    known: HashMap<u64, KnownPath>,
    /// As they came: ids, and which of all paths it was.
    order: VecDeque<(u64, u64)>,
    came: u64,
}

struct KnownPath {
    path: String,
    /// Which of all paths it was.
    came: u64,
}

impl Paths {
    pub(super) fn remember(&mut self, CgroupPath { id, path }: CgroupPath) {
        self.came += 1;
        self.known.insert(id, KnownPath { path, came: self.came });
        self.order.push_back((id, self.came));
        while self.order.len() > REMEMBERED
            && let Some((id, came)) = self.order.pop_front()
        {
            // One that came again has a later place.
            if self.known.get(&id).is_some_and(|known| known.came == came) {
                self.known.remove(&id);
            }
        }
    }

    pub(super) fn path(&self, id: u64) -> Option<&str> {
        self.known.get(&id).map(|known| known.path.as_str())
    }

    /// A cgroup as events tell it; nothing where its id is not known.
    pub(super) fn cgroup(&self, id: u64) -> Option<Cgroup> {
        known(id).map(|id| {
            let path = self.path(id);
            let unit = path.and_then(|path| CgroupIdentity::parse(path).unit);
            Cgroup { path: path.map(ToOwned::to_owned), id: Some(id), unit }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_came_again_outlives_those_that_came_meanwhile() {
        let mut paths = Paths::default();
        let path = |id: u64| CgroupPath { id, path: format!("/{id}") };
        paths.remember(path(0));
        (1..REMEMBERED as u64).for_each(|id| paths.remember(path(id)));
        paths.remember(path(0));
        assert_eq!((paths.path(0), paths.path(1)), (Some("/0"), Some("/1")));
        paths.remember(path(9_999));
        assert_eq!((paths.path(0), paths.path(1)), (Some("/0"), None));
    }
}
