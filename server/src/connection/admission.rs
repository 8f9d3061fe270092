//! How many connections there may be, in all and from one address.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// A bound on a number of connections.
#[derive(Debug)]
pub(super) struct Admission {
    all: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place that was taken. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Admission {
    /// At most so many. What has no address, such as a pipe, counts only in all.
    pub(super) fn new(all: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { all, per_address, taken: Mutex::default() })
    }

    /// A place for a connection from this address, if there is one.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.all >= self.all {
            return None;
        }
        if let Some(address) = address {
            let of_address = taken.by_address.entry(address).or_default();
            if *of_address >= self.per_address {
                return None;
            }
            *of_address += 1;
        }
        taken.all += 1;
        Some(Place { admission: self.clone(), address })
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.lock().all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.admission.taken.lock();
        taken.all -= 1;
        if let Some(address) = self.address
            && let Some(of_address) = taken.by_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_address_and_come_back() {
        let admission = Admission::new(3, 2);
        let [one, other] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|address| Some(address.into()));
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(one).unwrap();
        assert!(admission.admit(one).is_none(), "the address has two");
        let third = admission.admit(other).unwrap();
        assert!(admission.admit(other).is_none(), "there are three in all");
        drop((first, third));
        assert_eq!(admission.taken(), 1);
        assert!(admission.admit(one).is_some());
        assert_eq!(admission.taken.lock().by_address.len(), 1);
    }
}
