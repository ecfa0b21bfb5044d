//! A map that neither grows without end nor forgets too soon.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

/// Values by key, of which the ended are kept for a while and the eldest go first where there are too many.
#[derive(Debug)]
pub struct Bounded<K, V> {
    kept: HashMap<K, Kept<V>>,
    most: usize,
    /// How often something was written: the order of two that have the same time.
    written: u64,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    /// When it was last reported: nanoseconds of the caller's clock, 0 for a caller that has none; and what number it had.
    reported: (u64, u64),
    /// When it ended; [`u64::MAX`] while it has not.
    ended_ns: u64,
}

const NOT_ENDED: u64 = u64::MAX;

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    /// Room for `most` values, at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { kept: HashMap::new(), most: most.max(1), written: 0 }
    }

    /// Puts a value in, for a caller without a clock; gives the one that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let reported = self.next(&key, 0);
        let before = self.kept.insert(key, Kept { value, reported, ended_ns: NOT_ENDED });
        before.map(|before| before.value)
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.kept.remove(key).map(|kept| kept.value)
    }

    /// The value of `key`, made where there is none.
    pub fn report(&mut self, key: K, now_ns: u64) -> &mut V
    where
        V: Default,
    {
        let reported = self.next(&key, now_ns);
        let kept = match self.kept.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Kept { value: V::default(), reported, ended_ns: NOT_ENDED }),
        };
        kept.reported = reported;
        &mut kept.value
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.kept.get(key).map(|kept| &kept.value)
    }

    /// Notes the end, the first time it is reported.
    pub fn end(&mut self, key: &K, now_ns: u64) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.ended_ns = kept.ended_ns.min(now_ns);
        }
    }

    /// It is there after all.
    pub fn revive(&mut self, key: &K) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.ended_ns = NOT_ENDED;
        }
    }

    /// Whether its end was noted.
    #[must_use]
    pub fn has_ended(&self, key: &K) -> bool {
        self.kept.get(key).is_some_and(|kept| kept.ended_ns != NOT_ENDED)
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.kept.iter().map(|(key, kept)| (key, &kept.value))
    }

    /// How many there are, the ended among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Forgets what ended more than `keep_ns` ago.
    pub fn sweep(&mut self, now_ns: u64, keep_ns: u64) {
        self.kept.retain(|_, kept| kept.ended_ns == NOT_ENDED || now_ns.saturating_sub(kept.ended_ns) <= keep_ns);
    }

    /// Makes room for `key` where it is new, and gives what it is to be known as reported at.
    fn next(&mut self, key: &K, now_ns: u64) -> (u64, u64) {
        if self.kept.len() >= self.most && !self.kept.contains_key(key) {
            self.make_room();
        }
        self.written += 1;
        (now_ns, self.written)
    }

    /// Forgets a sixteenth at once, so that a full map is not searched for every newcomer: the ended before the living,
    /// the longest ended and those first that were not heard of for longest.
    fn make_room(&mut self) {
        let leave = self.most / 16 + 1;
        let mut ages: Vec<_> = self.kept.values().map(|kept| (kept.ended_ns, kept.reported)).collect();
        let last = if leave < ages.len() { *ages.select_nth_unstable(leave - 1).1 } else { (u64::MAX, (u64::MAX, 0)) };
        self.kept.retain(|_, kept| (kept.ended_ns, kept.reported) > last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_stay_where_the_ended_can_go() {
        let mut map: Bounded<u32, ()> = Bounded::new(32);
        for key in 0..32 {
            map.report(key, u64::from(key));
        }
        for key in [20, 25, 30] {
            map.end(&key, 100 + u64::from(key));
        }
        map.report(99, 200);
        assert!(map.len() <= 32);
        assert!(map.get(&20).is_none() && map.get(&25).is_none() && map.get(&30).is_none(), "the ended went");
        assert!(map.get(&0).is_some() && map.get(&99).is_some(), "the living stayed");
    }

    #[test]
    fn of_living_alone_the_longest_not_reported_of_goes() {
        let mut map: Bounded<u32, ()> = Bounded::new(2);
        map.report(1, 10);
        map.report(2, 20);
        map.report(1, 30);
        map.report(3, 40);
        assert!(map.get(&2).is_none() && map.get(&1).is_some() && map.get(&3).is_some());
    }

    #[test]
    fn without_a_clock_the_longest_not_written_goes() {
        let mut map = Bounded::new(3);
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(map.insert(key, value), None);
        }
        assert_eq!(map.insert("a", 4), Some(1), "written again");
        assert_eq!(map.insert("d", 5), None);
        assert_eq!((map.get(&"a"), map.get(&"b"), map.get(&"c"), map.get(&"d")), (Some(&4), None, Some(&3), Some(&5)));
        assert_eq!((map.remove(&"a"), map.remove(&"a"), map.len()), (Some(4), None, 2));
    }

    #[test]
    fn the_ended_are_kept_for_a_while_from_their_first_end() {
        let mut map: Bounded<u32, ()> = Bounded::new(8);
        map.report(1, 0);
        map.end(&1, 100);
        map.end(&1, 500);
        map.sweep(600, 500);
        assert!(map.get(&1).is_some());
        map.sweep(601, 500);
        assert!(map.get(&1).is_none());
    }
}
