//! Limits of how many of something there may be, in all and for each key: connections of an
//! address, calls of a user.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;

/// A limit in all and for each key.
#[derive(Debug)]
pub struct Admission<K> {
    all: usize,
    each: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    by_key: HashMap<K, usize>,
}

/// One of what there may be. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit<K: Hash + Eq + Clone> {
    admission: Arc<Admission<K>>,
    key: Option<K>,
}

impl<K: Hash + Eq + Clone> Admission<K> {
    /// At most `all`, and at most `each` for a key.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { all: 0, by_key: HashMap::new() });
        Arc::new(Self { all, each, taken })
    }

    /// A permit for this key, unless a limit is reached. Without a key, as for a pipe in memory,
    /// only the limit in all counts.
    pub fn admit(self: &Arc<Self>, key: Option<K>) -> Option<Permit<K>> {
        let mut taken = self.taken.lock();
        if taken.all >= self.all {
            return None;
        }
        if let Some(key) = &key {
            // Keys without permits are not kept.
            let has = taken.by_key.get(key).copied().unwrap_or_default();
            if has >= self.each {
                return None;
            }
            taken.by_key.insert(key.clone(), has + 1);
        }
        taken.all += 1;
        Some(Permit { admission: self.clone(), key })
    }

    /// How many permits there are now.
    pub fn taken(&self) -> usize {
        self.taken.lock().all
    }
}

impl<K: Hash + Eq + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut taken = self.admission.taken.lock();
        taken.all -= 1;
        if let Some(key) = &self.key
            && let Some(has) = taken.by_key.get_mut(key)
        {
            *has -= 1;
            if *has == 0 {
                taken.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_in_all_and_for_each_key_and_come_back() {
        let admission = Admission::new(3, 2);
        let [one, other] = ["one", "other"].map(Some);
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(one).unwrap();
        assert!(admission.admit(one).is_none(), "one has two");
        let third = admission.admit(other).unwrap();
        assert!(admission.admit(other).is_none(), "there are three in all");
        drop((first, third));
        assert_eq!(admission.taken(), 1);
        assert!(admission.admit(one).is_some());
        assert_eq!(admission.taken.lock().by_key.len(), 1);
    }
}
