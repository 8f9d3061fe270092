//! Which certificates of clients are trusted.

use std::sync::Arc;

use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::words;

/// Trusts what leads to a client CA, and a certificate that is itself in the list of client CAs.
///
/// A certificate that was made with one line of openssl is its own CA and says so. As a client's
/// certificate, webpki refuses it. An operator who lists that very certificate trusts it all the
/// same.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) webpki: Arc<dyn ClientCertVerifier>,
    pub(super) listed: Vec<CertificateDer<'static>>,
}

/// The URIs among the subject alternative names of a certificate.
pub(super) fn names_of(certificate: &CertificateDer<'_>) -> Option<Arc<[String]>> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(certificate.valid_uri_names().map(str::to_owned).collect())
}

impl ClientCertVerifier for Trust {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.webpki.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if words::is_of_a_ca(&error) && self.listed.contains(end_entity) => {
                Ok(ClientCertVerified::assertion())
            }
            Err(error) => {
                let names = names_of(end_entity).unwrap_or_default().join(", ");
                tracing::info!(names, why = words::of_certificate(&error), "a peer is refused");
                Err(error)
            }
            trusted => trusted,
        }
    }

    fn offer_client_auth(&self) -> bool {
        self.webpki.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
        IsCa, KeyPair, date_time_ymd,
    };
    use tokio_rustls::rustls::{
        RootCertStore, crypto::ring::default_provider, server::WebPkiClientVerifier,
    };

    use super::*;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn ca(name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, ca).unwrap().der().clone()
    }

    /// Why a server that trusts one CA refuses this certificate.
    fn refusal(trusted: &Ca, certificate: &CertificateDer<'_>) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let trust = Trust { webpki: webpki.build().unwrap(), listed: vec![] };
        let error = trust.verify_client_cert(certificate, &[], UnixTime::now()).unwrap_err();
        words::of_certificate(&error)
    }

    #[test]
    fn every_client_certificate_that_is_refused_has_words_that_say_what_to_do() {
        let (trusted, other, namesake) = (ca("trusted"), ca("other"), ca("trusted"));
        let purpose = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        };
        for (certificate, words) in [
            (leaf(&other, |_| {}), "leads to none of the client CAs"),
            (leaf(&namesake, |_| {}), "another CA of the same name"),
            (leaf(&trusted, |it| it.not_after = date_time_ymd(2001, 1, 1)), "has expired"),
            (leaf(&trusted, |it| it.not_before = date_time_ymd(4000, 1, 1)), "compare the clocks"),
            (leaf(&trusted, purpose), "lacks clientAuth"),
            (trusted.der().clone(), "that very certificate into the client CAs"),
            (CertificateDer::from(vec![1, 2, 3]), "cannot be decoded"),
        ] {
            let refusal = refusal(&trusted, &certificate);
            assert!(refusal.contains(words), "{words}: {refusal}");
        }
    }
}
