//! Why a client is refused, for the operator: the client itself only gets an alert.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, OtherError};

/// Whether webpki refused a certificate only because it is that of a CA. It has looked at the
/// validity before.
pub(super) fn is_of_a_ca(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error else {
        return false;
    };
    matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Why a client's certificate is not trusted, and what to do.
pub(super) fn of_certificate(error: &Error) -> String {
    use CertificateError as E;
    let what = match error {
        _ if is_of_a_ca(error) => {
            "is that of a CA: put that very certificate into the client CAs, or give the client \
             another"
        }
        Error::InvalidCertificate(E::UnknownIssuer) => {
            "leads to none of the client CAs, or the client does not send the certificates between \
             the two"
        }
        Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => "has expired",
        Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => {
            "is not valid yet: compare the clocks"
        }
        Error::InvalidCertificate(E::InvalidPurpose | E::InvalidPurposeContext { .. }) => {
            "is for another purpose: its extended key usage lacks clientAuth"
        }
        Error::InvalidCertificate(E::BadEncoding) => "cannot be decoded",
        Error::InvalidCertificate(E::BadSignature) => {
            "was signed by another CA of the same name as one of the client CAs"
        }
        Error::InvalidCertificate(E::Revoked) => "was revoked",
        other => return format!("the client's certificate cannot be used: {other}"),
    };
    format!("the client's certificate {what}")
}

/// Why a handshake failed, if the reason is not that the client went away, or its certificate,
/// which is reported where it is verified.
pub(super) fn of_handshake(error: &io::Error) -> Option<String> {
    let error: &Error = error.get_ref()?.downcast_ref()?;
    Some(match error {
        Error::InvalidCertificate(_) => return None,
        Error::NoCertificatesPresented => "the client shows no certificate".to_owned(),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(_) => "the client does not speak TLS".to_owned(),
        Error::PeerIncompatible(problem) => {
            format!("the client and this server have no version or cipher in common: {problem:?}")
        }
        Error::NoApplicationProtocol => "the client does not offer HTTP/2 (ALPN h2)".to_owned(),
        other => format!("TLS failed: {other}"),
    })
}

fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let what = match alert {
        A::UnknownCA => "does not trust the CA of this server's certificate",
        A::CertificateExpired => "says that this server's certificate has expired",
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown => {
            "does not accept this server's certificate: its CA, its name or its dates"
        }
        A::CertificateRevoked => "says that this server's certificate was revoked",
        other => return format!("the client ended TLS: {other:?}"),
    };
    format!("the client {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_accept_the_server_is_reported_in_words() {
        for (error, words) in [
            (Error::AlertReceived(AlertDescription::UnknownCA), "does not trust the CA"),
            (Error::AlertReceived(AlertDescription::BadCertificate), "its name or its dates"),
            (Error::NoCertificatesPresented, "shows no certificate"),
        ] {
            let explained = of_handshake(&io::Error::other(error)).unwrap();
            assert!(explained.contains(words), "{explained}");
        }
        let gone = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(of_handshake(&gone), None, "a client that goes away is not refused");
    }
}
