//! In place of `token.rs` in a build without the feature `tokens`: no keys can be read.

use super::{caller::Caller, refusal::Refusal};

/// Keys whose signatures are trusted, of which this build has none.
#[derive(Debug)]
pub enum Keys {}

impl Keys {
    /// Refuses the keys.
    ///
    /// # Errors
    /// Always: names the feature.
    pub fn parse(_: &[u8], _: &str, _: &str) -> Result<Self, String> {
        Err("tokens need the feature `tokens` of quartet-server, which this build lacks".to_owned())
    }

    /// Cannot be called: there is no value of this type.
    pub fn is_empty(&self) -> bool {
        match *self {}
    }

    /// Cannot be called: there is no value of this type.
    pub fn left_out(&self) -> &[String] {
        match *self {}
    }

    /// Cannot be called: there is no value of this type.
    ///
    /// # Errors
    /// None.
    pub fn verify(&self, _: &str) -> Result<Caller, Refusal> {
        match *self {}
    }
}
