//! A map that neither grows without end nor forgets too soon.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

/// Values by key, of which the ended are kept for a while and the eldest go first where there are too many.
pub(super) struct Bounded<K, V> {
    kept: HashMap<K, Kept<V>>,
    most: usize,
}

struct Kept<V> {
    value: V,
    /// When it was last reported, nanoseconds of the index's clock.
    reported_ns: u64,
    /// When it ended; [`u64::MAX`] while it has not.
    ended_ns: u64,
}

const NOT_ENDED: u64 = u64::MAX;

impl<K: Copy + Eq + Hash, V: Default> Bounded<K, V> {
    /// Room for `most` values, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: HashMap::new(), most: most.max(1) }
    }

    /// The value of `key`, made where there is none.
    pub(super) fn tell(&mut self, key: K, now_ns: u64) -> &mut V {
        if self.kept.len() >= self.most && !self.kept.contains_key(&key) {
            self.make_room();
        }
        let kept = match self.kept.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert(Kept { value: V::default(), reported_ns: now_ns, ended_ns: NOT_ENDED })
            }
        };
        kept.reported_ns = now_ns;
        &mut kept.value
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.kept.get(key).map(|kept| &kept.value)
    }

    /// Notes the end, the first time it is reported.
    pub(super) fn end(&mut self, key: &K, now_ns: u64) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.ended_ns = kept.ended_ns.min(now_ns);
        }
    }

    /// It is there after all.
    pub(super) fn revive(&mut self, key: &K) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.ended_ns = NOT_ENDED;
        }
    }

    pub(super) fn has_ended(&self, key: &K) -> bool {
        self.kept.get(key).is_some_and(|kept| kept.ended_ns != NOT_ENDED)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.kept.iter().map(|(key, kept)| (key, &kept.value))
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Forgets what ended more than `keep_ns` ago.
    pub(super) fn sweep(&mut self, now_ns: u64, keep_ns: u64) {
        self.kept.retain(|_, kept| kept.ended_ns == NOT_ENDED || now_ns.saturating_sub(kept.ended_ns) <= keep_ns);
    }

    /// Forgets a sixteenth at once, so that a full map is not searched for every newcomer: the ended before the living,
    /// the longest ended and those first that were not heard of for longest.
    fn make_room(&mut self) {
        let age = |kept: &Kept<V>| (kept.ended_ns, kept.reported_ns);
        let mut ages: Vec<_> = self.kept.iter().map(|(key, kept)| (age(kept), *key)).collect();
        let leave = self.most / 16 + 1;
        if leave < ages.len() {
            ages.select_nth_unstable_by_key(leave, |(age, _)| *age);
        }
        for (_, key) in ages.iter().take(leave) {
            self.kept.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_stay_where_the_ended_can_go() {
        let mut map: Bounded<u32, ()> = Bounded::new(32);
        for key in 0..32 {
            map.tell(key, u64::from(key));
        }
        for key in [20, 25, 30] {
            map.end(&key, 100 + u64::from(key));
        }
        map.tell(99, 200);
        assert!(map.len() <= 32);
        assert!(map.get(&20).is_none() && map.get(&25).is_none() && map.get(&30).is_none(), "the ended went");
        assert!(map.get(&0).is_some() && map.get(&99).is_some(), "the living stayed");
    }

    #[test]
    fn of_living_alone_the_longest_not_reported_of_goes() {
        let mut map: Bounded<u32, ()> = Bounded::new(2);
        map.tell(1, 10);
        map.tell(2, 20);
        map.tell(1, 30);
        map.tell(3, 40);
        assert!(map.get(&2).is_none() && map.get(&1).is_some() && map.get(&3).is_some());
    }

    #[test]
    fn the_ended_are_kept_for_a_while_from_their_first_end() {
        let mut map: Bounded<u32, ()> = Bounded::new(8);
        map.tell(1, 0);
        map.end(&1, 100);
        map.end(&1, 500);
        map.sweep(600, 500);
        assert!(map.get(&1).is_some());
        map.sweep(601, 500);
        assert!(map.get(&1).is_none());
    }
}
