//! The pod and container that a kill's line is about, which its candidates and members have by their names only.

use super::{Container, OomKill, Pod, Task};

/// The pod and container that a line is about.
pub struct Place {
    /// The pod.
    pub pod: Option<Pod>,
    /// The container.
    pub container: Option<Container>,
}

impl Place {
    /// Leaves only the names of what is this pod and container.
    pub fn names_only(&self, pod: &mut Option<Pod>, container: &mut Option<Container>) {
        self.swap_same(&self.named(), pod, container);
    }

    /// Puts back what [`Self::names_only`] left out.
    fn complete(&self, pod: &mut Option<Pod>, container: &mut Option<Container>) {
        self.named().swap_same(self, pod, container);
    }

    /// The same with only its names.
    fn named(&self) -> Self {
        Self {
            pod: self.pod.as_ref().map(|Pod { namespace, name, .. }| Pod {
                namespace: namespace.clone(),
                name: name.clone(),
                ..Pod::default()
            }),
            container: self
                .container
                .as_ref()
                .map(|Container { name, .. }| Container { name: name.clone(), ..Container::default() }),
        }
    }

    /// Puts `other` in the place of what equals `self`.
    fn swap_same(&self, other: &Self, pod: &mut Option<Pod>, container: &mut Option<Container>) {
        if *pod != self.pod || pod.as_ref().is_none_or(|pod| pod.name.is_none()) {
            return;
        }
        pod.clone_from(&other.pod);
        if *container == self.container {
            container.clone_from(&other.container);
        }
    }
}

impl OomKill {
    /// Puts back what a printed line left out of pods and containers that are the line's own.
    pub fn complete_places(&mut self) {
        let own = Place { pod: self.pod.clone(), container: self.container.clone() };
        self.each_place(|pod, container| own.complete(pod, container));
    }

    /// Changes the pod and container of each candidate and member.
    pub fn each_place(&mut self, mut change: impl FnMut(&mut Option<Pod>, &mut Option<Container>)) {
        let candidates = self.candidates.iter_mut().flatten().map(|candidate| &mut candidate.task);
        for Task { pod, container, .. } in candidates.chain(&mut self.members) {
            change(pod, container);
        }
    }
}
