//! In place of `otlp.rs` in a build without the feature `otlp`: no span is collected.

use http::HeaderMap;
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_subscriber::layer::Identity;

/// Exports spans. This build cannot.
#[derive(Debug)]
pub enum Traces {}

impl Traces {
    /// Refuses the collector.
    ///
    /// # Errors
    /// Always: names the feature.
    pub fn export_to(_: &str) -> Result<Self, &'static str> {
        Err("traces need the feature `otlp` of quartet-server, which this build lacks")
    }

    /// Cannot be called: there is no value of this type.
    pub fn layer(&self) -> Identity {
        match *self {}
    }

    /// Cannot be called: there is no value of this type.
    pub async fn finish(self) {
        match self {}
    }
}

pub(super) fn adopt(_: &Span, _: &HeaderMap) {}

pub(super) fn inject(_: &Span, _: &mut MetadataMap) {}
