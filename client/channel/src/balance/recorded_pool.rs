//! A pool without subchannels, for tests of the policies.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    picker::Unreachable,
    pool::{Pool, SubchannelId},
};
use crate::{address::Address, transport::ConnectError};

/// Records the requests of a policy.
#[derive(Debug, Default)]
pub(crate) struct RecordedPool {
    pub(crate) open: BTreeMap<SubchannelId, Address>,
    pub(crate) connecting: Vec<SubchannelId>,
    pub(crate) lookups: usize,
    next: SubchannelId,
}

impl Pool for RecordedPool {
    fn open(&mut self, address: Address) -> SubchannelId {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, address);
        id
    }

    fn connect(&mut self, id: SubchannelId) {
        assert!(self.open.contains_key(&id), "{id} is closed");
        self.connecting.push(id);
    }

    fn close(&mut self, id: SubchannelId) {
        assert!(self.open.remove(&id).is_some(), "{id} is closed already");
        self.connecting.retain(|&connecting| connecting != id);
    }

    fn resolve_again(&mut self) {
        self.lookups += 1;
    }
}

pub(crate) fn unreachable(text: &str) -> Unreachable {
    let source = std::io::Error::other(text.to_owned());
    let address = Address::Name(text.to_owned());
    Unreachable::Connect(Arc::new(ConnectError { address, source }))
}

pub(crate) fn names(names: &[&str]) -> Vec<Address> {
    names.iter().map(|&name| Address::Name(name.to_owned())).collect()
}
