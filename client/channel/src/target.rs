//! Targets of channels, in [gRPC's
//! notation](https://github.com/grpc/grpc/blob/master/doc/naming.md).

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use http::uri::Authority;
use quartet_wire::host_port::{HostPort, InvalidHostPort, has_userinfo, redacted, socket_address};

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
/// Only `https://` asks for TLS; `http://` and `unix:` rule it out, and the other forms leave it to
/// [`Builder::tls`](crate::Builder::tls). Without a port, `http://` means port 80 and every other
/// form 443. The host may be an IPv6 address with a zone, `[fe80::1%eth0]`, which is never sent.
/// Schemes have no case. A user and a password are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    text: String,
    source: AddressSource,
    authority: Authority,
    encryption: Encryption,
}

/// What a target says about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// It was written as `https://`.
    Always,
    /// It was written in gRPC's notation, which leaves it open.
    IfSet,
    /// It was written as `http://`, or is a unix socket or left to the dialer.
    Never,
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
    /// The text, without a user and password if it had any.
    pub target: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Target {
    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The `:authority` of requests: the host in the target, whatever address it resolves to,
    /// without its zone.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether the target asks for TLS: it was written as `https://`.
    pub fn is_https(&self) -> bool {
        self.encryption == Encryption::Always
    }

    /// Whether all its addresses are unix sockets, which only this machine can read.
    pub(crate) fn is_local(&self) -> bool {
        let local = |address: &Address| matches!(address, Address::Unix(_));
        matches!(&self.source, AddressSource::Fixed(addresses) if addresses.iter().all(local))
    }

    pub(crate) fn encryption(&self) -> Encryption {
        self.encryption
    }

    pub(crate) fn source(&self) -> &AddressSource {
        &self.source
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        parse(text).map_err(|problem| InvalidTarget { target: redacted(text), problem })
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
    // Schemes have no case (RFC 3986, section 3.1).
    match scheme.to_ascii_lowercase().as_str() {
        "http" => url(text, rest, Encryption::Never),
        "https" => url(text, rest, Encryption::Always),
        "dns" => dns(text, endpoint(rest)?),
        "ipv4" => listed(text, rest, SocketAddr::is_ipv4),
        "ipv6" => listed(text, rest, SocketAddr::is_ipv6),
        "unix" => {
            let source = AddressSource::Fixed(vec![Address::Unix(path(rest)?)]);
            local(text, source, Encryption::Never)
        }
        "file" => local(text, AddressSource::File(path(rest)?), Encryption::IfSet),
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

fn url(text: &str, rest: &str, encryption: Encryption) -> Parsed<Target> {
    let server = rest.strip_prefix("//").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let Some(server) = server.filter(|server| !server.is_empty() && !server.contains('/')) else {
        return refuse("it is not a URL of a server");
    };
    let usual = if encryption == Encryption::Always { DEFAULT_PORT } else { 80 };
    named(text, server, usual, encryption)
}

fn dns(text: &str, name: &str) -> Parsed<Target> {
    named(text, name, DEFAULT_PORT, Encryption::IfSet)
}

/// A target with a host, which is looked up.
fn named(text: &str, server: &str, usual_port: u16, encryption: Encryption) -> Parsed<Target> {
    let server = host_port(server)?;
    let (host, port) = (server.host.to_string(), server.port.unwrap_or(usual_port));
    let source = AddressSource::Dns { host, port };
    Ok(Target { text: text.into(), source, authority: authority(&server)?, encryption })
}

fn host_port(text: &str) -> Parsed<HostPort> {
    let problem = |problem| match problem {
        InvalidHostPort::Userinfo => problem.to_string(),
        _ => format!("{text:?} is not HOST:PORT: {problem}"),
    };
    text.parse().map_err(problem)
}

fn authority(server: &HostPort) -> Parsed<Authority> {
    server.authority().parse().map_err(|_| "its host cannot be an authority".to_owned())
}

fn listed(text: &str, list: &str, is_right: impl Fn(&SocketAddr) -> bool) -> Parsed<Target> {
    let address = |text: &str| match socket_address(text)? {
        address if is_right(&address) => Ok(Address::Tcp(address)),
        address => refuse(format!("{address} is not an address of that family")),
    };
    let addresses = list.split(',').map(address).collect::<Parsed<Vec<_>>>()?;
    let first = list.split(',').next().unwrap_or_default();
    let authority = authority(&host_port(first)?)?;
    let (source, encryption) = (AddressSource::Fixed(addresses), Encryption::IfSet);
    Ok(Target { text: text.into(), source, authority, encryption })
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

fn local(text: &str, source: AddressSource, encryption: Encryption) -> Parsed<Target> {
    let authority = Authority::from_static("localhost");
    Ok(Target { text: text.into(), source, authority, encryption })
}

fn passthrough(text: &str, name: &str) -> Parsed<Target> {
    if has_userinfo(name) {
        return refuse(InvalidHostPort::Userinfo.to_string());
    }
    // The dialer reads the name, which may be no host: only a zone is known not to travel.
    let authority = name.parse().or_else(|_| authority(&host_port(name)?))?;
    let source = AddressSource::Fixed(vec![Address::Name(name.into())]);
    Ok(Target { text: text.into(), source, authority, encryption: Encryption::Never })
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
            "HTTP://greeter.test:9001",
            "Dns:///greeter.test:9001",
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

    /// RFC 6874: `%25` in a URL. The zone is for this machine alone.
    #[test]
    fn a_zone_is_dialed_and_never_in_the_authority() {
        for text in [
            "http://[fe80::1%lo]:9001",
            "https://[fe80::1%25lo]:9001/",
            "dns:///[fe80::1%lo]:9001",
            "[fe80::1%25lo]:9001",
        ] {
            let expected = AddressSource::Dns { host: "fe80::1%lo".into(), port: 9001 };
            assert_eq!(source(text), expected, "{text}");
            assert_eq!(text.parse::<Target>().unwrap().authority(), "[fe80::1]:9001", "{text}");
        }
        for text in ["ipv6:[fe80::1%lo]:9001", "ipv6:[fe80::1%25lo]:9001"] {
            let AddressSource::Fixed(addresses) = source(text) else { panic!("{text}") };
            let Address::Tcp(SocketAddr::V6(address)) = addresses[0] else { panic!("{text}") };
            assert!(address.scope_id() > 0, "{text}");
            assert_eq!(text.parse::<Target>().unwrap().authority(), "[fe80::1]:9001", "{text}");
        }
    }

    /// RFC 9113, section 8.3.1, forbids userinfo in `:authority`, and a password does not belong
    /// into messages.
    #[test]
    fn a_user_and_a_password_are_refused_and_not_repeated() {
        for text in [
            "http://kim:c2VjcmV0@greeter:1",
            "HTTPS://kim:c2VjcmV0@greeter:1/",
            "dns:///kim:c2VjcmV0@greeter:1",
            "kim:c2VjcmV0@greeter:1",
            "passthrough:///kim:c2VjcmV0@greeter",
        ] {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.to_string().contains("a user or a password"), "{error}");
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("c2VjcmV0") && !shown.contains("kim"), "{shown}");
            }
        }
    }

    #[test]
    fn any_other_text_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "not a URL"),
            ("http://", "not a URL"),
            ("http://a:1/path", "not a URL"),
            ("http:a:1", "not a URL"),
            ("http://a:1?x", "HOST:PORT"),
            ("ftp://a", "must start with"),
            ("dns://1.1.1.1/a:1", "cannot be chosen"),
            ("dns:///", "is not HOST:PORT"),
            ("ipv4:127.0.0.1", "has no port"),
            ("ipv4:greeter:1", "not an IP address"),
            ("ipv6:[fe80::1%nosuch0]:1", "no interface"),
            ("ipv4:[::1]:1", "not an address"),
            ("ipv4:127.0.0.1:1,", "IP:PORT"),
            ("unix:", "no path"),
            ("unix://run/s", "three slashes"),
        ] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
