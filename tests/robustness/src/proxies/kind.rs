//! The seven proxies, and how each is started.

use clap::ValueEnum;

/// A reverse proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Apache with `mod_proxy_http2`.
    Apache,
    /// nghttpx.
    Nghttpx,
    /// Caddy.
    Caddy,
    /// Traefik.
    Traefik,
    /// Envoy.
    Envoy,
}

impl Kind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Apache => "Apache",
            Self::Nghttpx => "nghttpx",
            Self::Caddy => "Caddy",
            Self::Traefik => "Traefik",
            Self::Envoy => "Envoy",
        }
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Apache => "apache2",
            Self::Nghttpx => "nghttpx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Envoy => "envoy",
        }
    }

    /// Its arguments, in a folder that has its configuration.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["-p", ".", "-c", "nginx.conf"],
            Self::Haproxy => &["-db", "-f", "haproxy.cfg"],
            Self::Apache => &["-D", "FOREGROUND", "-d", ".", "-f", "apache.conf"],
            Self::Nghttpx => &["--conf=nghttpx.conf"],
            Self::Caddy => &["run", "--config", "Caddyfile"],
            Self::Traefik => &["--configFile=traefik.yaml"],
            // Otherwise it looks for an older process of itself, to take over from.
            Self::Envoy => &["-c", "envoy.yaml", "--disable-hot-restart", "--log-level", "error"],
        }
    }

    /// The files of its configuration.
    pub(super) fn files(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["nginx.conf"],
            Self::Haproxy => &["haproxy.cfg"],
            Self::Apache => &["apache.conf"],
            Self::Nghttpx => &["nghttpx.conf"],
            Self::Caddy => &["Caddyfile"],
            Self::Traefik => &["traefik.yaml", "traefik-routes.yaml"],
            Self::Envoy => &["envoy.yaml"],
        }
    }
}
