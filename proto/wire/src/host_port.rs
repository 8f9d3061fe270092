//! A host and a port, as people write them: the one parser for addresses to listen on, targets,
//! lists of addresses and names of servers.
//!
//! | text | host |
//! |---|---|
//! | `greeter.example:9001`, `greeter.example` | a name |
//! | `127.0.0.1:9001` | an IPv4 address |
//! | `[::1]:9001`, `[::1]`, `::1` | an IPv6 address |
//! | `[fe80::1%lo]:9001`, `[fe80::1%25lo]:9001` | an IPv6 address in a zone: an interface |
//!
//! `%25` is how [RFC 6874](https://www.rfc-editor.org/rfc/rfc6874) writes the `%` in a URL. A zone
//! means nothing to other machines, so it never leaves this one: [`HostPort::authority`] and
//! [`Host::without_zone`] leave it out, as RFC 6874 section 4 demands.
//!
//! A user and a password before the host are refused, without repeating them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

/// A host, and a port if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Where to connect to, or to listen on.
    pub host: Host,
    /// The port, if it was written.
    pub port: Option<u16>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, for DNS.
    Name(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, and the zone in which it is meant.
    V6(Ipv6Addr, Option<String>),
}

/// Why a text is not a host with a port. It never holds a user or a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHostPort {
    /// A user or a password stands before the host.
    Userinfo,
    /// There is no host, or it is neither a name nor an address.
    Host,
    /// What follows the host is not a port.
    Port,
}

impl fmt::Display for InvalidHostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Userinfo => "it must not contain a user or a password: use a token",
            Self::Host => "its host is neither a name nor an IP address (IPv6 in brackets)",
            Self::Port => "its port is not a number up to 65535",
        })
    }
}

impl std::error::Error for InvalidHostPort {}

/// Whether a URL or an authority contains a user or a password: `user:password@host`. They are
/// deprecated in URLs (RFC 3986, section 3.2.1) and forbidden in `:authority` ([RFC 9113, section
/// 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)).
pub fn has_userinfo(text: &str) -> bool {
    authority_of(text).contains('@')
}

/// The text without what [`has_userinfo`] finds, for messages.
pub fn redacted(text: &str) -> String {
    let authority = authority_of(text);
    let Some(at) = authority.rfind('@') else { return text.to_owned() };
    let begin = authority.as_ptr() as usize - text.as_ptr() as usize;
    format!("{}***{}", &text[..begin], &text[begin + at..])
}

/// The authority of a URL, or the text itself up to a slash.
fn authority_of(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest.trim_start_matches('/'));
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    fn from_str(text: &str) -> Result<Self, InvalidHostPort> {
        if text.contains('@') {
            return Err(InvalidHostPort::Userinfo);
        }
        let (host, port) = split(text)?;
        let port = port.map(|port| parse_port(port).ok_or(InvalidHostPort::Port)).transpose()?;
        Ok(Self { host: host.parse()?, port })
    }
}

/// The host, with its brackets, and what follows the colon after it.
fn split(text: &str) -> Result<(&str, Option<&str>), InvalidHostPort> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(InvalidHostPort::Host)? + 1;
        return match text[end..].strip_prefix(':') {
            Some(port) => Ok((&text[..end], Some(port))),
            None if text.len() == end => Ok((text, None)),
            None => Err(InvalidHostPort::Port),
        };
    }
    match text.split_once(':') {
        // Several colons: an IPv6 address without brackets, which leaves no place for a port.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl FromStr for Host {
    type Err = InvalidHostPort;

    /// Reads a host alone, IPv6 addresses with or without brackets.
    fn from_str(text: &str) -> Result<Self, InvalidHostPort> {
        let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let host = in_brackets.unwrap_or(text);
        if let Some(v6) = parse_v6(host) {
            return Ok(v6);
        }
        if in_brackets.is_some() {
            return Err(InvalidHostPort::Host);
        }
        match host.parse() {
            Ok(v4) => Ok(Self::V4(v4)),
            Err(_) if is_name(host) => Ok(Self::Name(host.to_owned())),
            Err(_) => Err(InvalidHostPort::Host),
        }
    }
}

fn parse_v6(text: &str) -> Option<Host> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    // `25` alone is a zone, the interface number 25: something must follow the encoded `%`.
    let decoded = zone.map(|zone| match zone.strip_prefix("25") {
        Some(encoded) if !encoded.is_empty() => encoded,
        _ => zone,
    });
    let is_zone = |zone: &str| {
        !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%')
    };
    let address = address.parse().ok()?;
    decoded.is_none_or(is_zone).then(|| Host::V6(address, decoded.map(str::to_owned)))
}

fn is_name(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.bytes().all(is_fit)
}

impl Host {
    /// The host as other machines may see it, without brackets: for TLS and for logs.
    pub fn without_zone(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::V4(address) => address.to_string(),
            Self::V6(address, _) => address.to_string(),
        }
    }

    /// The address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some((*address).into()),
            Self::V6(address, _) => Some((*address).into()),
        }
    }

    /// The address with a port, if the host is one. It is not looked up in DNS.
    ///
    /// # Errors
    /// This machine has no interface with the name of the zone.
    pub fn socket_address(&self, port: u16) -> Option<io::Result<SocketAddr>> {
        let Self::V6(address, Some(zone)) = self else {
            return Some(Ok(SocketAddr::new(self.ip()?, port)));
        };
        // The operating system knows its interfaces. For an address, it asks no server.
        let found = (format!("{address}%{zone}").as_str(), port).to_socket_addrs();
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no interface {zone:?}"));
        Some(found.ok().and_then(|mut found| found.next()).ok_or_else(missing))
    }
}

/// The host as it is looked up and dialed, without brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address, None) => address.fmt(f),
            Self::V6(address, Some(zone)) => write!(f, "{address}%{zone}"),
        }
    }
}

impl HostPort {
    /// The `:authority` of requests: host and port as they were written, without the zone.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::V6(address, _) => format!("[{address}]"),
            host => host.without_zone(),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

/// An IP address with a port, as addresses to listen on and lists of addresses are written.
///
/// # Errors
/// What is missing or wrong, as text for people. It never holds a user or a password.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let HostPort { host, port } = text.parse().map_err(|error: InvalidHostPort| {
        format!("{:?} is not IP:PORT: {error}", redacted(text))
    })?;
    let port = port.ok_or_else(|| format!("{host} has no port"))?;
    let address = host.socket_address(port);
    let address = address.ok_or_else(|| format!("{host} is a name, and not an IP address"))?;
    address.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> HostPort {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_notation_of_a_host_is_read() {
        let v6 = |zone: Option<&str>| Host::V6("fe80::1".parse().unwrap(), zone.map(str::to_owned));
        for (text, host, port) in [
            ("greeter.example:9001", Host::Name("greeter.example".into()), Some(9001)),
            ("greeter", Host::Name("greeter".into()), None),
            ("127.0.0.1:0", Host::V4([127, 0, 0, 1].into()), Some(0)),
            ("[fe80::1]:9001", v6(None), Some(9001)),
            ("[fe80::1]", v6(None), None),
            ("fe80::1", v6(None), None),
            ("[fe80::1%lo]:9001", v6(Some("lo")), Some(9001)),
            ("[fe80::1%25lo]:9001", v6(Some("lo")), Some(9001)),
            ("fe80::1%lo", v6(Some("lo")), None),
            ("[fe80::1%25]:1", v6(Some("25")), Some(1)),
        ] {
            assert_eq!(parse(text), HostPort { host, port }, "{text}");
        }
    }

    /// RFC 6874, section 4: a zone has no meaning outside of the machine.
    #[test]
    fn a_zone_is_neither_in_the_authority_nor_in_the_name_for_tls() {
        for text in ["[fe80::1%lo]:9001", "[fe80::1%25lo]:9001"] {
            assert_eq!(parse(text).authority(), "[fe80::1]:9001");
            assert_eq!(parse(text).host.without_zone(), "fe80::1");
            assert_eq!(parse(text).host.to_string(), "fe80::1%lo");
        }
        assert_eq!(parse("greeter:1").authority(), "greeter:1");
    }

    #[test]
    fn a_zone_is_an_interface_of_this_machine() {
        let address = parse("[fe80::1%lo]:7").host.socket_address(7).unwrap().unwrap();
        assert!(matches!(address, SocketAddr::V6(v6) if v6.scope_id() > 0), "{address:?}");
        let error = parse("[fe80::1%nosuch0]:7").host.socket_address(7).unwrap().unwrap_err();
        assert!(error.to_string().contains("nosuch0"), "{error}");
        assert!(parse("greeter:7").host.socket_address(7).is_none(), "names are not looked up");
    }

    #[test]
    fn any_other_text_is_refused_with_its_reason() {
        use InvalidHostPort::{Host, Port, Userinfo};
        for (text, error) in [
            ("", Host),
            (":9001", Host),
            ("a b:1", Host),
            ("[::1", Host),
            ("[greeter]:1", Host),
            ("[fe80::1%]:1", Host),
            ("1:2:3", Host),
            ("greeter:", Port),
            ("greeter:65536", Port),
            ("greeter:+1", Port),
            ("[::1]9001", Port),
            ("user:pw@greeter:1", Userinfo),
            ("user@greeter", Userinfo),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_user_and_a_password_are_found_and_never_repeated() {
        for (text, shown) in [
            ("http://user:pw@greeter:1/x", "http://***@greeter:1/x"),
            ("user:pw@greeter:1", "***@greeter:1"),
            ("dns:///user:pw@greeter", "dns:///***@greeter"),
            ("http://a@b@greeter", "http://***@greeter"),
        ] {
            assert!(has_userinfo(text), "{text}");
            assert_eq!(redacted(text), shown);
        }
        for text in ["http://greeter:1/@x", "greeter:1", "unix:/tmp/@s", "unix:///tmp/@s"] {
            assert!(!has_userinfo(text), "{text}");
            assert_eq!(redacted(text), text);
        }
    }
}
