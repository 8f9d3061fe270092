//! Failures of TLS in words that say what to do.

use std::io;

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use super::trust::is_of_a_ca;

/// What a server without HTTP/2 is told to lack.
pub(super) const NO_HTTP2: &str = "the server speaks TLS, but not HTTP/2";

/// Replaces the message of a TLS failure by one that says what to do.
pub(super) fn explain(error: io::Error) -> io::Error {
    let cause: Option<&rustls::Error> = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause.map(describe) {
        Some(message) => io::Error::new(error.kind(), message),
        None => error,
    }
}

fn describe(error: &rustls::Error) -> String {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented,
        PeerIncompatible, PeerMisbehaved,
    };
    match error {
        InvalidMessage(_) => "the server does not speak TLS on this port: use http://".to_owned(),
        _ if is_of_a_ca(error) => "the server shows the certificate of a CA as its own: put that \
                                   very certificate into `ca`, or give the server another"
            .to_owned(),
        InvalidCertificate(error) => describe_certificate(error),
        AlertReceived(alert) => describe_alert(*alert),
        NoCertificatesPresented => "the server shows no certificate".to_owned(),
        PeerIncompatible(problem) => {
            format!("the server and this client have no version or cipher in common: {problem:?}")
        }
        PeerMisbehaved(problem) => format!("the server breaks TLS: {problem:?}"),
        other => format!("TLS failed: {other}"),
    }
}

fn describe_certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    let what = match error {
        E::UnknownIssuer => {
            return "the CA of the server's certificate is not trusted (set `ca`), or the server \
                    does not send the certificates between the two"
                .to_owned();
        }
        E::Expired | E::ExpiredContext { .. } => "has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "is not valid yet: compare the clocks",
        E::NotValidForName => "is for another name (set `server_name`)",
        E::NotValidForNameContext { expected, presented } => {
            let (expected, names) = (expected.to_str(), presented.join(", "));
            return format!(
                "the server's certificate is not for {expected} but for {names} (set \
                 `server_name`)"
            );
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "is for another purpose: its extended key usage lacks serverAuth"
        }
        E::BadEncoding => "cannot be decoded",
        E::BadSignature => "was signed by another CA of the same name (set `ca`)",
        E::Revoked => "was revoked",
        other => return format!("the server's certificate cannot be used: {other}"),
    };
    format!("the server's certificate {what}")
}

fn describe_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let what = match alert {
        A::CertificateRequired => "the server requires a client certificate (set `cert` and `key`)",
        A::UnknownCA => "the server does not trust this client's certificate",
        A::CertificateExpired => "the server says that this client's certificate has expired",
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown => {
            "the server does not accept this client's certificate"
        }
        A::CertificateRevoked => "the server says that this client's certificate was revoked",
        A::DecryptError => "the server cannot verify this client's signature",
        A::AccessDenied => "the server denies this client access",
        A::NoApplicationProtocol => NO_HTTP2,
        A::ProtocolVersion => "the server does not speak TLS 1.3",
        A::HandshakeFailure => "the server and this client have no cipher in common",
        A::UnrecognisedName => "the server has no certificate for this name (set `server_name`)",
        other => return format!("the server ended TLS: {other:?}"),
    };
    what.to_owned()
}
