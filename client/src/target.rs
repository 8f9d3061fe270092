//! What a channel is connected to, in gRPC's own notation.
//!
//! | target | addresses |
//! |---|---|
//! | `http://HOST:PORT`, `https://HOST:PORT`, `dns:///HOST:PORT`, `HOST:PORT` | all that the name has, looked up again after failures |
//! | `ipv4:A:P,B:P`, `ipv6:[A]:P,[B]:P` | those |
//! | `unix:PATH`, `unix:///PATH` | that socket |
//! | `file:PATH` | those in the file, one a line, read again whenever it changes (an addition of this client) |
//! | `passthrough:///TEXT` | the text, as it is |

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use crate::dial::Address;

/// gRPC's, for a target that names no port.
const DEFAULT_PORT: u16 = 443;

/// Where the servers of a channel are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    text: String,
    pub(crate) place: Place,
    authority: Authority,
    scheme: Scheme,
}

/// Where addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Dns { host: String, port: u16 },
    These(Vec<Address>),
    File(PathBuf),
}

/// Text that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct InvalidTarget {
    problem: String,
}

fn refuse<T>(problem: impl Into<String>) -> Result<T, InvalidTarget> {
    Err(InvalidTarget { problem: problem.into() })
}

impl Target {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What requests say in `:authority`: the name that was asked for, whichever address it leads to.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether it was written as `https://`.
    pub fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether it is on this machine, behind a socket of the file system.
    pub(crate) fn is_local(&self) -> bool {
        let local = |address: &Address| matches!(address, Address::Unix(_));
        matches!(&self.place, Place::These(addresses) if addresses.iter().all(local))
    }

    pub(crate) fn scheme(&self) -> &Scheme {
        &self.scheme
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
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
            "unix" => local(text, Place::These(vec![Address::Unix(path(rest)?)])),
            "file" => local(text, Place::File(path(rest)?)),
            "passthrough" => passthrough(text, endpoint(rest)?),
            _ if text.contains("://") => refuse(
                "it must start with http://, dns:, ipv4:, ipv6:, unix: or file:, or be HOST:PORT",
            ),
            // As in gRPC: what names no scheme that we know is a name for DNS.
            _ => dns(text, text),
        }
    }
}

/// The endpoint of `[//AUTHORITY/]ENDPOINT`.
fn endpoint(rest: &str) -> Result<&str, InvalidTarget> {
    match rest.strip_prefix("//").map(|rest| rest.split_once('/')) {
        None => Ok(rest),
        Some(Some(("", endpoint))) => Ok(endpoint),
        Some(Some(_)) => refuse("a DNS server cannot be chosen: write three slashes"),
        Some(None) => refuse("there must be three slashes, or none"),
    }
}

fn url(text: &str, scheme: Scheme) -> Result<Target, InvalidTarget> {
    let Some(uri) = text.parse::<Uri>().ok().filter(|uri| matches!(uri.path(), "" | "/")) else {
        return refuse("it is not a URL of a server");
    };
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return refuse("it is not a URL of a server");
    };
    let usual = if scheme == Scheme::HTTPS { DEFAULT_PORT } else { 80 };
    let place = Place::Dns { host: bare(authority.host()), port: uri.port_u16().unwrap_or(usual) };
    Ok(Target { text: text.into(), place, authority: authority.clone(), scheme })
}

fn dns(text: &str, name: &str) -> Result<Target, InvalidTarget> {
    match name.parse::<Authority>() {
        Ok(authority) if !authority.host().is_empty() && !name.contains('@') => {
            let (host, port) = (bare(authority.host()), authority.port_u16());
            let place = Place::Dns { host, port: port.unwrap_or(DEFAULT_PORT) };
            Ok(Target { text: text.into(), place, authority, scheme: Scheme::HTTP })
        }
        _ => refuse(format!("{name:?} is not HOST:PORT")),
    }
}

/// An IPv6 address without the brackets that it has in a URL.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').into()
}

fn listed(
    text: &str,
    list: &str,
    is_right: impl Fn(&SocketAddr) -> bool,
) -> Result<Target, InvalidTarget> {
    let address = |text: &str| match text.parse() {
        Ok(address) if is_right(&address) => Ok(Address::Tcp(address)),
        _ => refuse(format!("{text:?} is not an address with a port of that kind")),
    };
    let addresses = list.split(',').map(address).collect::<Result<Vec<_>, _>>()?;
    let authority = addresses[0].to_string();
    let Ok(authority) = authority.parse() else { return refuse("no authority") };
    Ok(Target {
        text: text.into(),
        place: Place::These(addresses),
        authority,
        scheme: Scheme::HTTP,
    })
}

fn path(rest: &str) -> Result<PathBuf, InvalidTarget> {
    match rest.strip_prefix("//") {
        Some(absolute) if !absolute.starts_with('/') => {
            refuse("there must be three slashes, or none")
        }
        Some("") | None if rest.is_empty() => refuse("there is no path"),
        Some(absolute) => Ok(absolute.into()),
        None => Ok(rest.into()),
    }
}

fn local(text: &str, place: Place) -> Result<Target, InvalidTarget> {
    let authority = Authority::from_static("localhost");
    Ok(Target { text: text.into(), place, authority, scheme: Scheme::HTTP })
}

fn passthrough(text: &str, name: &str) -> Result<Target, InvalidTarget> {
    let Ok(authority) = name.parse() else { return refuse(format!("{name:?} is no authority")) };
    let place = Place::These(vec![Address::Name(name.into())]);
    Ok(Target { text: text.into(), place, authority, scheme: Scheme::HTTP })
}

/// An address as it stands in a file: `IP:PORT` or `unix:PATH`.
pub(crate) fn address(text: &str) -> Option<Address> {
    match text.strip_prefix("unix:") {
        Some(path) => Some(Address::Unix(path.into())),
        None => text.parse().ok().map(Address::Tcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse::<Target>().unwrap_or_else(|error| panic!("{text}: {error}")).place
    }

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().unwrap())
    }

    #[test]
    fn names_are_looked_up_however_they_are_written() {
        let expected = Place::Dns { host: "posts.test".into(), port: 9001 };
        for text in [
            "http://posts.test:9001",
            "http://posts.test:9001/",
            "dns:///posts.test:9001",
            "dns:posts.test:9001",
            "posts.test:9001",
        ] {
            assert_eq!(place(text), expected, "{text}");
            assert_eq!(text.parse::<Target>().unwrap().authority(), "posts.test:9001");
        }
        assert_eq!(place("dns:///[::1]:9001"), Place::Dns { host: "::1".into(), port: 9001 });
        assert_eq!(place("posts.test"), Place::Dns { host: "posts.test".into(), port: 443 });
        assert_eq!(place("http://posts.test"), Place::Dns { host: "posts.test".into(), port: 80 });
    }

    #[test]
    fn lists_are_taken_in_their_order() {
        let expected = Place::These(vec![tcp("127.0.0.1:2"), tcp("127.0.0.1:1")]);
        assert_eq!(place("ipv4:127.0.0.1:2,127.0.0.1:1"), expected);
        assert_eq!(place("ipv6:[::1]:1"), Place::These(vec![tcp("[::1]:1")]));
    }

    #[test]
    fn paths_may_be_relative_only_without_slashes() {
        let unix = |path: &str| Place::These(vec![Address::Unix(path.into())]);
        assert_eq!(place("unix:run/s"), unix("run/s"));
        assert_eq!(place("unix:/run/s"), unix("/run/s"));
        assert_eq!(place("unix:///run/s"), unix("/run/s"));
        assert_eq!(place("file:servers"), Place::File("servers".into()));
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
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
