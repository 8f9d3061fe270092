//! Targets of channels, in [gRPC's
//! notation](https://github.com/grpc/grpc/blob/master/doc/naming.md).

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use crate::address::Address;

/// gRPC's default port, for a target that names none.
const DEFAULT_PORT: u16 = 443;

/// What a channel connects to. Parse one with [`str::parse`].
///
/// | target | addresses |
/// |---|---|
/// | `http://HOST:PORT`, `https://HOST:PORT` | those of the name, looked up again after failures |
/// | `dns:///HOST:PORT`, `HOST:PORT` | the same, in gRPC's notation |
/// | `ipv4:A:P,B:P`, `ipv6:[A]:P,[B]:P` | those listed |
/// | `unix:PATH`, `unix:///PATH` | that socket |
/// | `file:PATH` | those in the file, one a line, read again when it changes; not part of gRPC |
/// | `passthrough:///TEXT` | the text, left to the dialer |
///
/// Only `https://` asks for TLS. Without a port, `http://` means port 80 and every other form 443.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    text: String,
    source: AddressSource,
    authority: Authority,
    scheme: Scheme,
}

/// Where the addresses of a target come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressSource {
    /// A DNS lookup.
    Dns { host: String, port: u16 },
    /// The target itself lists them.
    Fixed(Vec<Address>),
    /// A file with an address on each line.
    File(PathBuf),
}

/// A text that is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target:?} is not an endpoint: {problem}")]
pub struct InvalidTarget {
    /// The text.
    pub target: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Target {
    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The `:authority` of requests: the name in the target, whatever address it resolves to.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether the target asks for TLS: it was written as `https://`.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether all its addresses are unix sockets, which only this machine can read.
    pub(crate) fn is_local(&self) -> bool {
        let local = |address: &Address| matches!(address, Address::Unix(_));
        matches!(&self.source, AddressSource::Fixed(addresses) if addresses.iter().all(local))
    }

    pub(crate) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(crate) fn source(&self) -> &AddressSource {
        &self.source
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        parse(text).map_err(|problem| InvalidTarget { target: text.into(), problem })
    }
}

/// A target, or what is wrong with the text.
type Parsed<T> = Result<T, String>;

fn refuse<T>(problem: impl Into<String>) -> Parsed<T> {
    Err(problem.into())
}

fn parse(text: &str) -> Parsed<Target> {
    if text.is_empty() {
        return refuse("it is not a URL or target");
    }
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    match scheme {
        "http" => url(text, Scheme::HTTP),
        "https" => url(text, Scheme::HTTPS),
        "dns" => dns(text, endpoint(rest)?),
        "ipv4" => listed(text, rest, SocketAddr::is_ipv4),
        "ipv6" => listed(text, rest, SocketAddr::is_ipv6),
        "unix" => local(text, AddressSource::Fixed(vec![Address::Unix(path(rest)?)])),
        "file" => local(text, AddressSource::File(path(rest)?)),
        "passthrough" => passthrough(text, endpoint(rest)?),
        _ if text.contains("://") => refuse(
            "it must start with http://, https://, dns:, ipv4:, ipv6:, unix: or file:, or be \
             HOST:PORT",
        ),
        // As in gRPC: a text without a known scheme is a name for DNS.
        _ => dns(text, text),
    }
}

/// The endpoint of `[//AUTHORITY/]ENDPOINT`.
fn endpoint(rest: &str) -> Parsed<&str> {
    match rest.strip_prefix("//").map(|rest| rest.split_once('/')) {
        None => Ok(rest),
        Some(Some(("", endpoint))) => Ok(endpoint),
        Some(Some(_)) => refuse("the DNS server cannot be chosen: write three slashes"),
        Some(None) => refuse("it must have three slashes, or none"),
    }
}

fn url(text: &str, scheme: Scheme) -> Parsed<Target> {
    let Some(uri) = text.parse::<Uri>().ok().filter(|uri| matches!(uri.path(), "" | "/")) else {
        return refuse("it is not a URL of a server");
    };
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return refuse("it is not a URL of a server");
    };
    let usual = if scheme == Scheme::HTTPS { DEFAULT_PORT } else { 80 };
    let source =
        AddressSource::Dns { host: bare(authority.host()), port: uri.port_u16().unwrap_or(usual) };
    Ok(Target { text: text.into(), source, authority: authority.clone(), scheme })
}

fn dns(text: &str, name: &str) -> Parsed<Target> {
    match name.parse::<Authority>() {
        Ok(authority) if !authority.host().is_empty() && !name.contains('@') => {
            let (host, port) = (bare(authority.host()), authority.port_u16());
            let source = AddressSource::Dns { host, port: port.unwrap_or(DEFAULT_PORT) };
            Ok(Target { text: text.into(), source, authority, scheme: Scheme::HTTP })
        }
        _ => refuse(format!("{name:?} is not HOST:PORT")),
    }
}

/// An IPv6 address without the brackets that it has in a URL.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').into()
}

fn listed(text: &str, list: &str, is_right: impl Fn(&SocketAddr) -> bool) -> Parsed<Target> {
    let address = |text: &str| match text.parse() {
        Ok(address) if is_right(&address) => Ok(Address::Tcp(address)),
        _ => refuse(format!("{text:?} is not an address of that family with a port")),
    };
    let addresses = list.split(',').map(address).collect::<Result<Vec<_>, _>>()?;
    let authority = addresses[0].to_string();
    let Ok(authority) = authority.parse() else {
        return refuse("its first address cannot be an authority");
    };
    Ok(Target {
        text: text.into(),
        source: AddressSource::Fixed(addresses),
        authority,
        scheme: Scheme::HTTP,
    })
}

fn path(rest: &str) -> Parsed<PathBuf> {
    match rest.strip_prefix("//") {
        Some(absolute) if !absolute.starts_with('/') => {
            refuse("it must have three slashes, or none")
        }
        Some("") | None if rest.is_empty() => refuse("it has no path"),
        Some(absolute) => Ok(absolute.into()),
        None => Ok(rest.into()),
    }
}

fn local(text: &str, source: AddressSource) -> Parsed<Target> {
    let authority = Authority::from_static("localhost");
    Ok(Target { text: text.into(), source, authority, scheme: Scheme::HTTP })
}

fn passthrough(text: &str, name: &str) -> Parsed<Target> {
    let Ok(authority) = name.parse() else { return refuse(format!("{name:?} is not a host name")) };
    let source = AddressSource::Fixed(vec![Address::Name(name.into())]);
    Ok(Target { text: text.into(), source, authority, scheme: Scheme::HTTP })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> AddressSource {
        text.parse::<Target>().unwrap_or_else(|error| panic!("{error}")).source
    }

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().unwrap())
    }

    #[test]
    fn every_notation_of_a_name_is_looked_up_in_dns() {
        let expected = AddressSource::Dns { host: "greeter.test".into(), port: 9001 };
        for text in [
            "http://greeter.test:9001",
            "http://greeter.test:9001/",
            "dns:///greeter.test:9001",
            "dns:greeter.test:9001",
            "greeter.test:9001",
        ] {
            assert_eq!(source(text), expected, "{text}");
            assert_eq!(text.parse::<Target>().unwrap().authority(), "greeter.test:9001");
        }
        assert_eq!(
            source("dns:///[::1]:9001"),
            AddressSource::Dns { host: "::1".into(), port: 9001 }
        );
        assert_eq!(
            source("greeter.test"),
            AddressSource::Dns { host: "greeter.test".into(), port: 443 }
        );
        assert_eq!(
            source("http://greeter.test"),
            AddressSource::Dns { host: "greeter.test".into(), port: 80 }
        );
    }

    #[test]
    fn listed_addresses_keep_their_order() {
        let expected = AddressSource::Fixed(vec![tcp("127.0.0.1:2"), tcp("127.0.0.1:1")]);
        assert_eq!(source("ipv4:127.0.0.1:2,127.0.0.1:1"), expected);
        assert_eq!(source("ipv6:[::1]:1"), AddressSource::Fixed(vec![tcp("[::1]:1")]));
    }

    #[test]
    fn relative_paths_have_no_leading_slashes() {
        let unix = |path: &str| AddressSource::Fixed(vec![Address::Unix(path.into())]);
        assert_eq!(source("unix:run/s"), unix("run/s"));
        assert_eq!(source("unix:/run/s"), unix("/run/s"));
        assert_eq!(source("unix:///run/s"), unix("/run/s"));
        assert_eq!(source("file:servers"), AddressSource::File("servers".into()));
    }

    #[test]
    fn only_https_asks_for_tls() {
        for text in ["http://127.0.0.1:9001", "unix:/run/greeter.sock", "dns:///[::1]:9001"] {
            assert!(!text.parse::<Target>().unwrap().is_https(), "{text}");
        }
        assert!("https://[::1]:9001".parse::<Target>().unwrap().is_https());
    }

    #[test]
    fn any_other_text_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "not a URL"),
            ("http://", "not a URL"),
            ("http://a:1/path", "not a URL"),
            ("ftp://a", "must start with"),
            ("dns://1.1.1.1/a:1", "cannot be chosen"),
            ("dns:///", "is not HOST:PORT"),
            ("ipv4:127.0.0.1", "not an address"),
            ("ipv4:[::1]:1", "not an address"),
            ("ipv4:127.0.0.1:1,", "not an address"),
            ("unix:", "no path"),
            ("unix://run/s", "three slashes"),
        ] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
