//! The pods and containers that an event speaks of: all of them, to be completed by who knows more; and the one that a kill's line is
//! about, which its candidates and members have by their names only.

use super::{Cgroup, Container, Limit, OomKill, Pod, Task};

/// Whom an event speaks of.
pub enum Mention<'a> {
    /// Where something happened, or who did it.
    Place(PlaceMut<'a>),
    /// A process that nothing happened to, or a pod that is named beside others.
    Bystander(PlaceMut<'a>),
    /// A pod that the kubelet names, perhaps without its uid.
    Pod(&'a mut Pod),
}

/// A pod and container as far as they are known, and the cgroup that they are found by.
pub struct PlaceMut<'a> {
    /// The pod.
    pub pod: &'a mut Option<Pod>,
    /// The container.
    pub container: &'a mut Option<Container>,
    /// The cgroup's id.
    pub cgroup_id: Option<u64>,
}

/// What speaks of pods and containers.
pub trait Mentions {
    /// Shows each of them, where it happened first.
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>));
}

impl<T: Mentions> Mentions for Option<T> {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        if let Some(one) = self {
            one.mentions(show);
        }
    }
}

impl<T: Mentions> Mentions for Vec<T> {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        for one in self {
            one.mentions(show);
        }
    }
}

impl Mentions for Task {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        let Self { pod, container, cgroup_id, .. } = self;
        show(Mention::Place(PlaceMut { pod, container, cgroup_id: *cgroup_id }));
    }
}

impl Mentions for Limit {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        let Self { pod, container, cgroup_id, .. } = self;
        show(Mention::Place(PlaceMut { pod, container, cgroup_id: *cgroup_id }));
    }
}

impl<'a> Mention<'a> {
    /// Where an event happened: in its cgroup, or where that is not known, in that of its task.
    pub(crate) fn own(
        pod: &'a mut Option<Pod>,
        container: &'a mut Option<Container>,
        cgroup: Option<&Cgroup>,
        task: Option<&Task>,
    ) -> Self {
        let of_task = || task.and_then(|task| task.cgroup_id);
        Self::Place(PlaceMut { pod, container, cgroup_id: cgroup.and_then(|cgroup| cgroup.id).or_else(of_task) })
    }
}

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
