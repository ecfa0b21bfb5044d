//! Paths of cgroups, which arrive before the records that name their ids.

use std::collections::VecDeque;

use super::{decode::CgroupPath, machine::known};
use crate::{event::Cgroup, node::cgroup_path::CgroupIdentity};

/// How many are remembered. A record's own come right before it, so a few would do.
const REMEMBERED: usize = 256;

/// The paths of cgroups, by their ids.
#[derive(Default)]
pub(super) struct Paths(VecDeque<CgroupPath>);

impl Paths {
    pub(super) fn remember(&mut self, path: CgroupPath) {
        self.0.retain(|known| known.id != path.id);
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(path);
    }

    pub(super) fn path(&self, id: u64) -> Option<&str> {
        self.0.iter().rev().find(|path| path.id == id).map(|path| path.path.as_str())
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
