//! What a call is part of: the header `traceparent`, as W3C defines it.
//!
//! A client exports no spans of its own. It says which trace its calls belong to, and servers that export theirs put
//! them there.

use std::str::FromStr;

use http::{HeaderName, HeaderValue, Request};
use quartet_wire::unindexed;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A trace, and who in it makes the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    /// Who made this client, if it was said: the parent of its calls. Else each call is a parent of its own.
    parent_id: Option<u64>,
    flags: u8,
}

impl Default for TraceContext {
    /// A new trace, for servers to record.
    fn default() -> Self {
        Self { trace_id: fastrand::u128(1..), parent_id: None, flags: 1 }
    }
}

/// It is not what W3C's Trace Context says a `traceparent` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be 00-, 32 hex digits, -, 16 hex digits, - and 2 hex digits; neither id may be 0")]
pub struct NotATraceparent;

impl FromStr for TraceContext {
    type Err = NotATraceparent;

    fn from_str(text: &str) -> Result<Self, NotATraceparent> {
        let parts: Vec<&str> = text.split('-').collect();
        let ["00", trace_id, parent_id, flags] = parts[..] else { return Err(NotATraceparent) };
        let trace_id = u128::from_str_radix(hex(trace_id, 32)?, 16).map_err(|_| NotATraceparent)?;
        let parent_id =
            u64::from_str_radix(hex(parent_id, 16)?, 16).map_err(|_| NotATraceparent)?;
        let flags = u8::from_str_radix(hex(flags, 2)?, 16).map_err(|_| NotATraceparent)?;
        if trace_id == 0 || parent_id == 0 {
            return Err(NotATraceparent);
        }
        Ok(Self { trace_id, parent_id: Some(parent_id), flags })
    }
}

/// Digits only: a number may begin with a plus.
fn hex(text: &str, digits: usize) -> Result<&str, NotATraceparent> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let good = text.len() == digits && text.bytes().all(is_hex);
    good.then_some(text).ok_or(NotATraceparent)
}

impl TraceContext {
    /// Says in a call what it is part of, unless it says so already.
    pub(super) fn mark<B>(&self, mut request: Request<B>) -> Request<B> {
        request.headers_mut().entry(TRACEPARENT).or_insert_with(|| self.header());
        request
    }

    fn header(&self) -> HeaderValue {
        let parent_id = self.parent_id.unwrap_or_else(|| fastrand::u64(1..));
        let value = format!("00-{:032x}-{parent_id:016x}-{:02x}", self.trace_id, self.flags);
        unindexed(HeaderValue::try_from(value).expect("invariant: it is ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_taken_as_it_is_and_nothing_else_is_taken() {
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
            assert_eq!(bad.parse::<TraceContext>(), Err(NotATraceparent), "{bad}");
        }
    }

    #[test]
    fn the_calls_of_a_client_are_of_one_trace_and_each_is_a_parent_of_its_own() {
        let context = TraceContext::default();
        let [one, other]: [TraceContext; 2] =
            [(); 2].map(|()| context.header().to_str().unwrap().parse().unwrap());
        assert_eq!(one.trace_id, other.trace_id);
        assert_ne!(one.parent_id, other.parent_id);
    }
}
