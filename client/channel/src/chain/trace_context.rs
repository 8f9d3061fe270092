//! The trace that a call belongs to: the header `traceparent` of [W3C Trace
//! Context](https://www.w3.org/TR/trace-context/).
//!
//! The channel exports no spans. It names the trace, and servers that export spans add theirs to
//! it.

use std::str::FromStr;

use http::{HeaderName, HeaderValue, Request};
use quartet_wire::unindexed;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A trace, and the span in it that makes the calls. Parse one from a `traceparent` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    /// The span that makes the calls. Without one, each call gets a random parent id.
    parent_id: Option<u64>,
    flags: u8,
}

impl Default for TraceContext {
    /// A new trace with a random id, sampled.
    fn default() -> Self {
        Self { trace_id: fastrand::u128(1..), parent_id: None, flags: 1 }
    }
}

/// A text that is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be 00-, 32 hex digits, -, 16 hex digits, - and 2 hex digits; no id may be 0")]
pub struct InvalidTraceparent;

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let parts: Vec<&str> = text.split('-').collect();
        let ["00", trace_id, parent_id, flags] = parts[..] else { return Err(InvalidTraceparent) };
        let trace_id =
            u128::from_str_radix(hex(trace_id, 32)?, 16).map_err(|_| InvalidTraceparent)?;
        let parent_id =
            u64::from_str_radix(hex(parent_id, 16)?, 16).map_err(|_| InvalidTraceparent)?;
        let flags = u8::from_str_radix(hex(flags, 2)?, 16).map_err(|_| InvalidTraceparent)?;
        if trace_id == 0 || parent_id == 0 {
            return Err(InvalidTraceparent);
        }
        Ok(Self { trace_id, parent_id: Some(parent_id), flags })
    }
}

/// Checks for lower-case hex digits only: integers also parse with a plus sign.
fn hex(text: &str, digits: usize) -> Result<&str, InvalidTraceparent> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let good = text.len() == digits && text.bytes().all(is_hex);
    good.then_some(text).ok_or(InvalidTraceparent)
}

impl TraceContext {
    /// Adds the header, unless the request has one.
    pub(super) fn mark<B>(&self, mut request: Request<B>) -> Request<B> {
        request.headers_mut().entry(TRACEPARENT).or_insert_with(|| self.header());
        request
    }

    fn header(&self) -> HeaderValue {
        let parent_id = self.parent_id.unwrap_or_else(|| fastrand::u64(1..));
        let value = format!("00-{:032x}-{parent_id:016x}-{:02x}", self.trace_id, self.flags);
        unindexed(HeaderValue::try_from(value).expect("invariant: hex digits are ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_parses_and_it_is_sent_unchanged() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context: TraceContext = good.parse().unwrap();
        assert_eq!(context.header(), good);
        for bad in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00",
        ] {
            assert_eq!(bad.parse::<TraceContext>(), Err(InvalidTraceparent), "{bad}");
        }
    }

    #[test]
    fn calls_of_a_new_trace_share_its_id_and_have_different_parent_ids() {
        let context = TraceContext::default();
        let [one, other]: [TraceContext; 2] =
            [(); 2].map(|()| context.header().to_str().unwrap().parse().unwrap());
        assert_eq!(one.trace_id, other.trace_id);
        assert_ne!(one.parent_id, other.parent_id);
    }
}
